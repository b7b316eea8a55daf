/* driver.h: how kernels reach a GPU: compiled files loaded and launched by the driver's API, which is found when a device is opened and is
 * never linked. Built with R1_EMULATE the same kernels run on the host, for tests. */
#ifndef R1_DRIVER_H
#define R1_DRIVER_H

#include "shim.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include "cuda/args.h"

namespace shim {

#define R1_NAME(file, kernel, type) kernel,
enum kernel_id { R1_KERNELS(R1_NAME) kernel_count };
#undef R1_NAME

/* The structure that a kernel is launched with. */
template <kernel_id> struct argument_of;
#define R1_ARGUMENT(file, kernel, type) template <> struct argument_of<kernel> { using of = type; };
R1_KERNELS(R1_ARGUMENT)
#undef R1_ARGUMENT

struct kernel_name {
	const char *file, *name;
};
#define R1_NAME(file, kernel, type) {#file, #kernel},
constexpr kernel_name kernel_names[] = {R1_KERNELS(R1_NAME)};
#undef R1_NAME

struct grid {
	int64_t x, y = 1, z = 1;
};

} // namespace shim

#ifdef R1_EMULATE

#include "cuda/emulate.h"
namespace emulated {
#include "cuda/gpu.h"
#include "cuda/gemm.cu"
#include "cuda/gemm16.cu"
#include "cuda/elem.cu"
#include "cuda/rows.cu"
#include "cuda/norm.cu"
#include "cuda/attn.cu"
#include "cuda/head.cu"
#include "cuda/draw.cu"
#include "cuda/optim.cu"
} // namespace emulated

namespace shim {

#define R1_CALL(file, kernel, type) [](const void *a) { emulated::kernel(*static_cast<const type *>(a)); },
constexpr void (*emulated_kernels[])(const void *) = {R1_KERNELS(R1_CALL)};
#undef R1_CALL

struct gpu {
	static constexpr const char *what = ", kernels emulated";

	template <kernel_id k> void launch(const at::Device &, grid g, int threads, const typename argument_of<k>::of &a) const
	{
		if (g.x > 0 && g.y > 0)
			emulated::emulate(kernel_names[k].name, emulated_kernels[k], &a, {static_cast<unsigned>(g.x), static_cast<unsigned>(g.y), static_cast<unsigned>(g.z)}, threads);
	}
};
inline gpu *open_gpu(const r1_options &) { return new gpu; }

} // namespace shim

#else

namespace shim {

/* The entries of the driver that are used, under the names of CUDA's driver API. */
struct driver {
	int (*error_text)(int, const char **), (*device_get)(int *, int), (*retain)(void **, int), (*release)(int), (*set_current)(void *), (*load)(void **, const void *), (*unload)(void *),
	    (*function)(void **, void *, const char *), (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);

	driver()
	{
		void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
		WANT(library, "no NVIDIA driver: libcuda.so.1 is not found");
		auto find = [library](auto &f, const char *name) {
			f = reinterpret_cast<std::decay_t<decltype(f)>>(dlsym(library, name));
			WANT(f, "the NVIDIA driver has no %s: it is too old for this libtorch", name);
		};
		find(error_text, "cuGetErrorString"), find(device_get, "cuDeviceGet"), find(retain, "cuDevicePrimaryCtxRetain"), find(release, "cuDevicePrimaryCtxRelease_v2");
		find(set_current, "cuCtxSetCurrent"), find(load, "cuModuleLoadData"), find(unload, "cuModuleUnload"), find(function, "cuModuleGetFunction"), find(launch, "cuLaunchKernel");
	}
	void check(int rc, const char *what) const
	{
		const char *text = "unknown error";
		if (rc)
			error_text(rc, &text);
		WANT(!rc, "%s: %s (CUDA error %d); where it comes again, the process must start anew", what, text ? text : "unknown error", rc);
	}
};

/* The kernels, ready to be launched on one device. Modules live in the device's primary context, which libtorch uses too. */
struct gpu {
	static constexpr const char *what = ", own kernels";

	explicit gpu(int ordinal)
	{
		d.check(d.device_get(&device, ordinal), "find the device");
		d.check(d.retain(&context, device), "open the device");
	}
	/* folder: of the files FILE.cubin, compiled for this device */
	gpu(const char *folder, int ordinal) : gpu(ordinal)
	{
		d.check(d.set_current(context), "use the device");
		for (int k = 0; k < kernel_count; k++)
			d.check(d.function(&functions[k], module(folder, kernel_names[k].file), kernel_names[k].name), kernel_names[k].name);
	}
	~gpu()
	{
		d.set_current(context);
		for (auto &m : modules)
			d.unload(m.second);
		d.release(device);
	}
	gpu(const gpu &) = delete;
	gpu &operator=(const gpu &) = delete;

	template <kernel_id k> void launch(const at::Device &on, grid g, int threads, typename argument_of<k>::of a) const
	{
		c10::impl::VirtualGuardImpl impl(on.type());
		void *arguments[] = {&a};
		if (g.x <= 0 || g.y <= 0)
			return;
		d.check(d.set_current(context), kernel_names[k].name);
		d.check(d.launch(functions[k], static_cast<unsigned>(g.x), static_cast<unsigned>(g.y), static_cast<unsigned>(g.z), static_cast<unsigned>(threads), 1, 1, 0, impl.getStream(on).native_handle(),
		                 arguments, nullptr),
		        kernel_names[k].name);
	}

private:
	void *module(const char *folder, const std::string &file)
	{
		auto found = std::find_if(modules.begin(), modules.end(), [&](const auto &m) { return m.first == file; });
		if (found != modules.end())
			return found->second;
		std::string path = std::string(folder) + "/" + file + ".cubin", text;
		std::ifstream in(path, std::ios::binary);
		text.assign(std::istreambuf_iterator<char>(in), {});
		WANT(!text.empty(), "cannot read %s: run r1 setup torch", path.c_str());
		void *m = nullptr;
		d.check(d.load(&m, text.data()), path.c_str());
		modules.emplace_back(file, m);
		return m;
	}

	driver d;
	int device = 0;
	void *context = nullptr, *functions[kernel_count] = {};
	std::vector<std::pair<std::string, void *>> modules;
};
inline gpu *open_gpu(const r1_options &o) { return o.kernels ? new gpu(o.kernels, o.device) : nullptr; }

} // namespace shim

#endif

#endif
