/* A web application for the lab: it answers each request with the server's host name. */

#include <string.h>
#include <unistd.h>

#include "uwsgi_abi.h"

struct wsgi_request;
extern int uwsgi_response_prepare_headers(struct wsgi_request *, char *, uint16_t);
extern int uwsgi_response_write_body_do(struct wsgi_request *, char *, size_t);

static int request(struct wsgi_request *request) {
	char name[65] = "";
	gethostname(name, sizeof(name) - 1);
	if (uwsgi_response_prepare_headers(request, "200 OK", 6)) return -1;
	return uwsgi_response_write_body_do(request, name, strlen(name));
}

struct { struct hz_uwsgi_plugin plugin; char room[512]; } who_plugin = {
	{ .name = "who", .request = (void (*)(void)) request }
};
