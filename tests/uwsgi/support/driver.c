/*
	Legion actions for tests:

	mark:LABEL            logs threads, files and memory, and resets the peak of memory
	takeovers:N:FILE      runs N takeovers, one after the other on this thread, with the arguments
	                      in FILE, one per line, again and again; marks "begin", "100" and "end".
	                      With DRIVER_PAUSE in the environment it waits for so many microseconds
	                      after each, so that the master can look between them

	They run on the thread of the plugin's own action, so no takeover runs at the same time.
*/
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "uwsgi_abi.h"

typedef struct hz_uwsgi_legion legion;

extern void uwsgi_log(const char *, ...);
extern struct hz_uwsgi_legion_action *uwsgi_legion_action_register(char *, int (*)(legion *, char *));
extern struct hz_uwsgi_legion_action *uwsgi_legion_action_get(char *);

static long from_status(const char *what) {
	char line[256];
	long value = -1;
	FILE *status = fopen("/proc/self/status", "r");
	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, what, strlen(what)))
			value = atol(line + strlen(what));
	if (status)
		fclose(status);
	return value;
}

static long open_files(void) {
	long count = 0;
	DIR *directory = opendir("/proc/self/fd");
	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count - 3; /* ".", ".." and its own */
}

static int mark(legion *ul, char *label) {
	(void) ul;
	long threads = from_status("Threads:"), files = open_files();
	long memory = from_status("VmRSS:"), peak = from_status("VmHWM:");
	FILE *clear = fopen("/proc/self/clear_refs", "w");
	int renewed = clear && fputs("5", clear) >= 0;
	if (clear)
		renewed = !fclose(clear) && renewed;
	uwsgi_log("[driver] %s: threads %ld files %ld memory %ld peak %ld%s\n", label, threads, files,
		memory, peak, renewed ? "" : " (/proc/self/clear_refs cannot be written)");
	return 0;
}

static int takeovers(legion *ul, char *argument) {
	static char line[4096];
	struct hz_uwsgi_legion_action *action = uwsgi_legion_action_get("hetzner-failoverip");
	char *path = strchr(argument, ':');
	FILE *arguments = path ? fopen(path + 1, "r") : NULL;
	long number = atol(argument), failed = 0;
	if (!action || !arguments) {
		uwsgi_log("[driver] cannot run: %s\n", argument);
		return 0;
	}
	useconds_t pause = getenv("DRIVER_PAUSE") ? atol(getenv("DRIVER_PAUSE")) : 0;
	mark(ul, "begin");
	for (long done = 0; done < number; done++) {
		if (!fgets(line, sizeof line, arguments)) {
			rewind(arguments);
			if (!fgets(line, sizeof line, arguments))
				break;
		}
		line[strcspn(line, "\n")] = 0;
		failed += action->func(ul, line) != 0;
		if (pause)
			usleep(pause);
		if (done + 1 == 100)
			mark(ul, "100");
	}
	uwsgi_log("[driver] %ld takeovers, %ld failed\n", number, failed);
	mark(ul, "end");
	fclose(arguments);
	return 0;
}

static int use_after_free(legion *ul, char *argument) {
	char *volatile memory = malloc(16);
	(void) ul;
	(void) argument;
	memory[0] = 1;
	char *volatile freed = memory;
	free(memory);
	uwsgi_log("[driver] %s\n", *(volatile char *) freed ? "used" : "wiped");
	return 0;
}

static void on_load(void) {
	uwsgi_legion_action_register("mark", mark);
	uwsgi_legion_action_register("takeovers", takeovers);
	uwsgi_legion_action_register("use-after-free", use_after_free);
}

struct { struct hz_uwsgi_plugin plugin; char room[512]; } driver_plugin = {
	{ .name = "driver", .on_load = on_load }
};
