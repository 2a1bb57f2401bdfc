/*
	A plugin for tests: each worker logs the value of a metric whenever it changes. It reads it as
	uwsgi.metric_get of a Python worker does, by uwsgi_metric_get. The metric's name is in the
	environment: METRIC.
*/
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include "uwsgi_abi.h"

extern void uwsgi_log(const char *, ...);
extern int64_t uwsgi_metric_get(char *, char *);

static void *follow(void *name) {
	int64_t last = -1;
	for (;;) {
		int64_t value = uwsgi_metric_get(name, NULL);
		if (value != last)
			uwsgi_log("[reader] %s is %lld\n", (char *) name, (long long) value);
		last = value;
		usleep(100000);
	}
	return NULL;
}

static void post_fork(void) {
	pthread_t thread;
	char *name = getenv("METRIC");
	if (name)
		pthread_create(&thread, NULL, follow, name);
}

struct { struct hz_uwsgi_plugin plugin; char room[512]; } reader_plugin = {
	{ .name = "reader", .post_fork = post_fork }
};
