/*
	A plugin for the benchmark: the legion action `bench:PLAN` calls other legion actions, one
	after the other and over and over, as uWSGI would on this very thread, and writes to PLAN.out
	how long each took. A plan's lines:

	rounds N                                 (first; round 0 is for warming up)
	call NAME ACTION ARGUMENT
	connect NAME ADDRESS PORT                (a bare TCP connection, which takes one round trip)
*/

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uwsgi_abi.h"

extern void uwsgi_log(const char *, ...);
extern struct hz_uwsgi_legion_action *uwsgi_legion_action_get(char *);
extern struct hz_uwsgi_legion_action *uwsgi_legion_action_register(
	char *, int (*)(struct hz_uwsgi_legion *, char *));

struct step {
	char name[32];
	struct hz_uwsgi_legion_action *action; /* NULL: connect */
	char argument[4096];
	struct sockaddr_in address;
};

static int connect_once(struct step *step) {
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int failed = connect(fd, (struct sockaddr *) &step->address, sizeof(step->address));
	close(fd);
	return failed;
}

static int parse(char *line, struct step *step) {
	char word[64], port[16];
	line[strcspn(line, "\n")] = 0;
	if (sscanf(line, "call %31s %63s %4095[^\n]", step->name, word, step->argument) == 3) {
		step->action = uwsgi_legion_action_get(word);
		return step->action ? 0 : -1;
	}
	if (sscanf(line, "connect %31s %63s %15s", step->name, word, port) == 3) {
		step->address.sin_family = AF_INET;
		step->address.sin_port = htons(atoi(port));
		return inet_pton(AF_INET, word, &step->address.sin_addr) == 1 ? 0 : -1;
	}
	return -1;
}

static int bench(struct hz_uwsgi_legion *legion, char *plan) {
	static struct step steps[8];
	char line[8192], path[4096];
	int rounds = 0, count = 0;
	FILE *in = fopen(plan, "r");
	snprintf(path, sizeof(path), "%s.out", plan);
	FILE *out = fopen(path, "w");
	if (!in || !out || !fgets(line, sizeof(line), in) || sscanf(line, "rounds %d", &rounds) != 1) goto bad;
	while (count < 8 && fgets(line, sizeof(line), in)) {
		if (parse(line, &steps[count++])) goto bad;
	}
	for (int round = 0; round <= rounds; round++) {
		for (struct step *step = steps; step < steps + count; step++) {
			struct timespec began, ended;
			clock_gettime(CLOCK_MONOTONIC, &began);
			int result = step->action ? step->action->func(legion, step->argument) : connect_once(step);
			clock_gettime(CLOCK_MONOTONIC, &ended);
			long long took = (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec;
			fprintf(out, "%d %s %lld %d\n", round, step->name, took, result);
		}
	}
	fclose(in);
	fclose(out);
	uwsgi_log("bench: done\n");
	return 0;
bad:
	uwsgi_log("bench: no plan, or none that makes sense: %s\n", line);
	return -1;
}

static void on_load(void) {
	uwsgi_legion_action_register("bench", bench);
}

struct { struct hz_uwsgi_plugin plugin; char room[512]; } bench_plugin = {
	{ .name = "bench", .on_load = on_load }
};
