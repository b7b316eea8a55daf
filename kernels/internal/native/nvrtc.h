/* nvrtc.h: NVIDIA's run-time compiler, found in a file of its own and never linked, and what the driver says of a device. Messages are
 * freed with free. */
#ifndef R1_NVRTC_H
#define R1_NVRTC_H

#include <stddef.h>
#include <string.h>

#include "torch.h"

/* The entries that are used, as NVRTC declares them but for the type of a program. */
typedef struct {
	const char *(*error_text)(int rc);
	int (*version)(int *major, int *minor);
	int (*create)(void **program, const char *text, const char *name, int headers, const char *const *texts, const char *const *names);
	int (*destroy)(void **program);
	int (*compile)(void *program, int options, const char *const *option);
	int (*log_size)(void *program, size_t *bytes);
	int (*log)(void *program, char *out);
	int (*cubin_size)(void *program, size_t *bytes);
	int (*cubin)(void *program, char *out);
} nvrtc;

static inline char *nvrtc_open(void *library, nvrtc *out)
{
	const struct { void **f; const char *name; } entries[] = {
		{(void **)&out->error_text, "nvrtcGetErrorString"}, {(void **)&out->version, "nvrtcVersion"}, {(void **)&out->create, "nvrtcCreateProgram"},
		{(void **)&out->destroy, "nvrtcDestroyProgram"}, {(void **)&out->compile, "nvrtcCompileProgram"}, {(void **)&out->log_size, "nvrtcGetProgramLogSize"},
		{(void **)&out->log, "nvrtcGetProgramLog"}, {(void **)&out->cubin_size, "nvrtcGetCUBINSize"}, {(void **)&out->cubin, "nvrtcGetCUBIN"},
	};
	for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
		if (!(*entries[i].f = dlsym(library, entries[i].name)))
			return torch_say("this file is no NVRTC");
	return NULL;
}

static inline char *nvrtc_version(const nvrtc *n, int *major, int *minor)
{
	int rc = n->version(major, minor);
	return rc ? torch_say(n->error_text(rc)) : NULL;
}

/* Compiles text; said: what the compiler said, warnings too; out: the code, freed with free. */
static inline char *nvrtc_compile(const nvrtc *n, const char *name, const char *text, int headers, const char *const *texts, const char *const *names, int options,
                                  const char *const *option, char **said, char **out, size_t *bytes)
{
	void *program = NULL;
	int rc = n->create(&program, text, name, headers, texts, names);
	size_t size = 0;
	if (rc)
		return torch_say(n->error_text(rc));
	rc = n->compile(program, options, option);
	if (!n->log_size(program, &size) && size && (*said = malloc(size)))
		n->log(program, *said);
	if (!rc && !(rc = n->cubin_size(program, bytes))) {
		*out = malloc(*bytes ? *bytes : 1);
		rc = *out ? n->cubin(program, *out) : 1; /* 1: out of memory */
	}
	n->destroy(&program);
	return rc ? torch_say(n->error_text(rc)) : NULL;
}

/* the compute capability of a device, such as 9 and 0 */
static inline char *cuda_capability(int device, int *major, int *minor)
{
	int (*init)(unsigned), (*get)(int *, int), (*attribute)(int *, int, int), rc = 0, handle = 0;
	void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	char text[160];
	if (!driver)
		return torch_say("no NVIDIA driver: libcuda.so.1 is not found");
	*(void **)&init = dlsym(driver, "cuInit");
	*(void **)&get = dlsym(driver, "cuDeviceGet");
	*(void **)&attribute = dlsym(driver, "cuDeviceGetAttribute");
	if (init && get && attribute && !(rc = init(0)) && !(rc = get(&handle, device)) && !(rc = attribute(major, 75, handle)) && !(rc = attribute(minor, 76, handle)))
		return NULL;
	snprintf(text, sizeof text, "the NVIDIA driver does not tell what device %d is (error %d): see nvidia-smi", device, rc);
	return torch_say(text);
}

#endif
