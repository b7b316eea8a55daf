/* A stand-in for NVRTC: its code is the names of the options and of what the text may include. For sm_11 it fails, and says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { char out[4096], log[64]; } program;

const char *nvrtcGetErrorString(int rc) { return rc == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_OTHER"; }
int nvrtcVersion(int *major, int *minor)
{
	*major = 99, *minor = 1;
	return 0;
}
int nvrtcCreateProgram(void **p, const char *text, const char *name, int n, const char *const *texts, const char *const *names)
{
	program *q = calloc(1, sizeof *q);
	sprintf(q->out, "%s%s", name, *text ? ":" : " is empty:");
	for (int i = 0; i < n; i++)
		if (strlen(texts[i]) > 0)
			strcat(strcat(q->out, " "), names[i]);
	*p = q;
	return 0;
}
int nvrtcDestroyProgram(void **p)
{
	free(*p);
	return 0;
}
int nvrtcCompileProgram(void *p, int n, const char *const *options)
{
	program *q = p;
	for (int i = 0; i < n; i++) {
		strcat(strcat(q->out, " "), options[i]);
		if (strstr(options[i], "sm_11")) {
			strcpy(q->log, "error: invalid value\n");
			return 6;
		}
	}
	return 0;
}
int nvrtcGetProgramLogSize(void *p, size_t *n)
{
	*n = strlen(((program *)p)->log) + 1;
	return 0;
}
int nvrtcGetProgramLog(void *p, char *out)
{
	strcpy(out, ((program *)p)->log);
	return 0;
}
int nvrtcGetCUBINSize(void *p, size_t *n)
{
	*n = strlen(((program *)p)->out);
	return 0;
}
int nvrtcGetCUBIN(void *p, char *out)
{
	memcpy(out, ((program *)p)->out, strlen(((program *)p)->out));
	return 0;
}
