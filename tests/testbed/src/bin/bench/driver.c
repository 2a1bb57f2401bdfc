/*
	A plugin for the benchmark: the legion action `bench:PLAN` calls other legion actions in turn, as
	uWSGI would and on the same thread, and writes to PLAN.out how long each call took. The first line
	of a plan is the number of rounds, the others are NAME ACTION:ARGUMENT. A line of the result is
	NAME NANOSECONDS RETURNED. A round before the first warms up and is not written. Each ~ in an
	argument becomes the number of the round.
*/

#include <stdio.h>
#include <stdlib.h>

#include "uwsgi_abi.h"

extern void uwsgi_log(const char *, ...);
extern struct hz_uwsgi_legion_action *uwsgi_legion_action_get(char *);
extern struct hz_uwsgi_legion_action *uwsgi_legion_action_register(
	char *, int (*)(struct hz_uwsgi_legion *, char *));

struct step {
	char name[32];
	struct hz_uwsgi_legion_action *action;
	char argument[4096];
};

static void die(const char *why) {
	uwsgi_log("bench: %s\n", why);
	exit(1);
}

static char *in_round(const char *argument, int round) {
	static char text[8192];
	char *end = text;
	for (; *argument && end < text + sizeof(text) - 16; argument++) {
		if (*argument == '~') end += sprintf(end, "%d", round);
		else *end++ = *argument;
	}
	*end = 0;
	return text;
}

static int bench(struct hz_uwsgi_legion *legion, char *plan) {
	static struct step steps[8];
	char action[64], path[4096];
	int rounds, count = 0;
	snprintf(path, sizeof(path), "%s.out", plan);
	FILE *in = fopen(plan, "r"), *out = fopen(path, "w");
	if (!in || !out || fscanf(in, "%d", &rounds) != 1) die("cannot read the plan");
	for (struct step *step = steps; step < steps + 8; step++, count++) {
		if (fscanf(in, " %31s %63[^:]:%4095[^\n]", step->name, action, step->argument) != 3) break;
		step->action = uwsgi_legion_action_get(action);
		if (!step->action) die("the plan contains an unknown action");
	}
	for (int round = 0; round <= rounds; round++) {
		for (struct step *step = steps; step < steps + count; step++) {
			struct timespec began, ended;
			char *argument = in_round(step->argument, round);
			clock_gettime(CLOCK_MONOTONIC, &began);
			int returned = step->action->func(legion, argument);
			clock_gettime(CLOCK_MONOTONIC, &ended);
			long long took = (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec;
			if (round) fprintf(out, "%s %lld %d\n", step->name, took, returned);
		}
	}
	fclose(in);
	if (fclose(out)) die("cannot write the result");
	uwsgi_log("bench: done\n");
	return 0;
}

static void on_load(void) {
	uwsgi_legion_action_register("bench", bench);
}

struct { struct hz_uwsgi_plugin plugin; char room[512]; } bench_plugin = {
	{ .name = "bench", .on_load = on_load }
};
