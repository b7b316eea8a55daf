/* torch.h: loading a backend that lies in a file of its own. Messages are freed with free. */
#ifndef R1_TORCH_H
#define R1_TORCH_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "r1.h"

static inline char *torch_say(const char *text)
{
	char *m = malloc(strlen(text) + 1);
	if (!m)
		abort();
	return strcpy(m, text);
}

static inline void *torch_load(const char *path, char **message)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		*message = torch_say(dlerror());
	return handle;
}

static inline char *torch_open(void *shim, const r1_api **out)
{
	char *(*open)(uint32_t abi, const r1_api **out);
	*(void **)&open = dlsym(shim, "r1_open");
	return open ? open(R1_ABI, out) : torch_say("the backend's file has no r1_open: run r1 setup torch");
}

/* how many devices the driver has; the driver alone is asked, so that libtorch need not be there */
static inline int torch_cuda_devices(char **message)
{
	char text[160];
	int (*init)(unsigned), (*count)(int *), n = 0, rc = 0;
	void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!driver) {
		*message = torch_say("no NVIDIA driver: libcuda.so.1 is not found; install the driver, or use \"cpu\"");
		return 0;
	}
	*(void **)&init = dlsym(driver, "cuInit");
	*(void **)&count = dlsym(driver, "cuDeviceGetCount");
	if (!init || !count || (rc = init(0)) || (rc = count(&n))) {
		snprintf(text, sizeof text, "the NVIDIA driver does not start (error %d): see nvidia-smi", rc);
		*message = torch_say(text);
	}
	return n;
}

#endif
