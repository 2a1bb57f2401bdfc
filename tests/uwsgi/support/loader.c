/*
	Loads the plugin, its argument, as a uWSGI does that lacks what the plugin needs: with UWSGI_LOG, one
	that was built without OpenSSL, and else one whose functions a plugin does not find.
*/
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include "uwsgi_abi.h"

#ifdef UWSGI_LOG
void uwsgi_log(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
}
#endif

int main(int argc, char **argv) {
	void *plugin = dlopen(argv[argc - 1], RTLD_NOW | RTLD_GLOBAL);
	struct hz_uwsgi_plugin *hetzner = plugin ? dlsym(plugin, "hetzner_plugin") : NULL;
	if (!hetzner) {
		fprintf(stderr, "%s\n", dlerror());
		return 2;
	}
	hetzner->on_load();
	return 0;
}
