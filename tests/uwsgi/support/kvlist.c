/*
	A plugin that parses each line of the file KVLIST_INPUT with uWSGI's own parser, and writes the
	values to the file KVLIST_OUTPUT. Texts and values are in hexadecimal digits; a value follows a
	`=`, and a key without one is a `-`.
*/

#include "uwsgi_abi.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void uwsgi_log(const char *, ...);
extern int uwsgi_kvlist_parse(char *, size_t, char, int, ...);

#define KEYS 10

static size_t decode(const char *digits, char *text) {
	size_t len = 0;
	unsigned int byte;
	while (sscanf(digits + 2 * len, "%2x", &byte) == 1)
		text[len++] = (char) byte;
	return len;
}

static void parse(char *text, size_t len, FILE *output) {
	char *v[KEYS] = { 0 };
	uwsgi_kvlist_parse(text, len, ',', '=',
		"username", &v[0], "user", &v[0],
		"password", &v[1], "pass", &v[1],
		"password_file", &v[2],
		"ip", &v[3],
		"active_ip", &v[4], "active_server_ip", &v[4],
		"url", &v[5],
		"timeout", &v[6],
		"deadline", &v[7],
		"ssl_no_verify", &v[8],
		"ca_file", &v[9], NULL);
	for (int key = 0; key < KEYS; key++) {
		fputs(v[key] ? " =" : " -", output);
		for (char *byte = v[key]; byte && *byte; byte++)
			fprintf(output, "%02x", (unsigned char) *byte);
		free(v[key]);
	}
	fputc('\n', output);
}

static void post_init(void) {
	FILE *input = fopen(getenv("KVLIST_INPUT"), "r");
	FILE *output = fopen(getenv("KVLIST_OUTPUT"), "w");
	char *line = NULL;
	size_t room = 0;
	unsigned long texts = 0;
	while (input && output && getline(&line, &room, input) > 0) {
		char *text = malloc(strlen(line));
		parse(text, decode(line, text), output);
		free(text);
		texts++;
	}
	free(line);
	if (!output || fclose(output) != 0)
		texts = 0;
	uwsgi_log("[kvlist] %lu texts were parsed\n", texts);
}

struct {
	struct hz_uwsgi_plugin plugin;
	char room[512];
} kvlist_plugin = {
	{ .name = "kvlist", .post_init = post_init }
};
