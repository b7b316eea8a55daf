/* driver.cpp: the shim's way to a GPU up to the first launch, with a stand-in for the driver: compiled files are found and loaded, what fails
 * is a sentence, and what was taken is given back. Arguments: the stand-in, the folder of compiled kernels. */
#undef NDEBUG
#include "torch.cpp"

#include <cassert>

int main(int argc, char **argv)
{
	assert(argc == 3);
	void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	assert(library);
	int (*held)() = reinterpret_cast<int (*)()>(dlsym(library, "fake_cuda_held"));
	auto text = [&](const char *folder, const char *entry) {
		setenv("FAKE_CUDA_FAILS", entry, 1);
		try {
			shim::gpu g(folder, 0);
			assert(held() == 10); /* the context and nine files */
		} catch (const shim::refused &e) {
			return std::string(e.what());
		}
		return std::string("opened");
	};
	assert(text(argv[2], "") == "opened");
	assert(text("/nowhere", "") == "cannot read /nowhere/gemm.cubin: run r1 setup torch");
	assert(text(argv[2], "cuDeviceGet").find("find the device: an illegal memory access was encountered (CUDA error 700)") == 0);
	assert(text(argv[2], "cuModuleLoadData").find("gemm.cubin: an illegal memory access") != std::string::npos);
	assert(text(argv[2], "r1_attn").find("r1_attn: an illegal memory access") == 0);
	assert(held() == 0);
	for (auto [file, name] : shim::kernel_names) { /* each kernel is in the file that it is looked for in */
		std::ifstream in(std::string(argv[2]) + "/" + file + ".cubin", std::ios::binary);
		std::string code{std::istreambuf_iterator<char>(in), {}};
		assert(code.find(std::string(".text.") + name) != std::string::npos);
	}
	printf("%d kernels found and loaded, every failure a sentence\n", static_cast<int>(shim::kernel_count));
}
