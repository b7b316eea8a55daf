/* A stand-in for NVIDIA's driver, which finds kernels in compiled files and launches none. FAKE_CUDA_FAILS names an entry that fails. */
#define _GNU_SOURCE
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fails(const char *entry)
{
	const char *name = getenv("FAKE_CUDA_FAILS");
	return name && !strcmp(name, entry) ? 700 : 0;
}
static int open_modules, retained;

int cuGetErrorString(int rc, const char **text)
{
	*text = rc == 700 ? "an illegal memory access was encountered" : "named symbol not found";
	return 0;
}
int cuDeviceGet(int *device, int ordinal)
{
	*device = ordinal;
	return fails("cuDeviceGet");
}
int cuDevicePrimaryCtxRetain(void **context, int device)
{
	(void)device;
	*context = &retained;
	retained++;
	return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, retained--, 0; }
int cuCtxSetCurrent(void *context) { return context == &retained ? 0 : 201; }
int cuModuleLoadData(void **module, const void *image)
{
	if (memcmp(image, ELFMAG, SELFMAG))
		return 200;
	if (fails("cuModuleLoadData"))
		return 700;
	*module = (void *)image;
	open_modules++;
	return 0;
}
int cuModuleUnload(void *module) { return (void)module, open_modules--, 0; }
/* the image may be gone by now: .ci/cuda/driver.cpp looks itself whether a file has the function */
int cuModuleGetFunction(void **function, void *module, const char *name)
{
	(void)module;
	*function = (void *)name;
	return fails(name);
}
int cuLaunchKernel(void) { return 1; }

/* what a process still holds */
int fake_cuda_held(void) { return open_modules + retained; }
