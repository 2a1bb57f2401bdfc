/*
	Checks at compile time that the uwsgi.h of the uWSGI at hand has the ABI that the plugin was
	written for (uwsgi_abi.h). `uwsgi --build-plugin` compiles it with that uWSGI's own header and
	flags, so a difference fails the build, and the error names it. It produces no code.
*/

#include "uwsgi.h"

#ifndef UWSGI_SSL
#error "This uWSGI was built without OpenSSL and so has no Legion: rebuild uWSGI with OpenSSL's headers installed (Debian: libssl-dev)."
#else

#include "uwsgi_abi.h"

#define SIZE_OF(type, field) sizeof(((type *) 0)->field)

#define CHECK_FIELD(s, field, offset, size) \
	_Static_assert(offsetof(struct s, field) == (offset), "offset of " #s "." #field " differs in this uWSGI"); \
	_Static_assert(SIZE_OF(struct s, field) == (size), "size of " #s "." #field " differs in this uWSGI"); \
	_Static_assert(offsetof(struct hz_##s, field) == (offset), "offset of hz_" #s "." #field " is not that of the table"); \
	_Static_assert(SIZE_OF(struct hz_##s, field) == (size), "size of hz_" #s "." #field " is not that of the table");

#define CHECK_SIZE(s, size) \
	_Static_assert(sizeof(struct s) == (size), "size of " #s " differs in this uWSGI"); \
	_Static_assert(sizeof(struct hz_##s) == (size), "size of hz_" #s " is not that of the table");

#define CHECK_ROOM(s, oldest, room) \
	_Static_assert(sizeof(struct s) >= (oldest), #s " is smaller in this uWSGI than in 2.0.1"); \
	_Static_assert(sizeof(struct s) <= (room), #s " is larger in this uWSGI than the plugin makes room for"); \
	_Static_assert(sizeof(struct hz_##s) == (oldest), "size of hz_" #s " is not that of the table");

HZ_UWSGI_ABI(CHECK_FIELD, CHECK_SIZE, CHECK_ROOM)

/* Functions that either side calls, and members that the plugin uses, must also have the expected type. */

#define CHECK_TYPE(name, expression, ...) \
	_Static_assert(__builtin_types_compatible_p(__typeof__(expression), __VA_ARGS__), "type of " name " differs in this uWSGI");

#define CHECK_FUNCTION(function, ...) CHECK_TYPE(#function "()", &function, __VA_ARGS__)
#define CHECK_MEMBER(s, field, ...) CHECK_TYPE(#s "." #field, ((struct s *) 0)->field, __VA_ARGS__)

CHECK_FUNCTION(uwsgi_legion_action_register, struct uwsgi_legion_action *(*)(char *, int (*)(struct uwsgi_legion *, char *)))
CHECK_FUNCTION(uwsgi_legion_get_by_name, struct uwsgi_legion *(*)(char *))
CHECK_FUNCTION(uwsgi_legion_announce, int (*)(struct uwsgi_legion *))
CHECK_FUNCTION(uwsgi_get_exported_opt, char *(*)(char *))
CHECK_FUNCTION(uwsgi_register_metric, struct uwsgi_metric *(*)(char *, char *, uint8_t, char *, void *, uint32_t, void *))
CHECK_FUNCTION(uwsgi_opt_get, struct uwsgi_option *(*)(char *))
CHECK_FUNCTION(uwsgi_opt_add_string_list, void (*)(char *, char *, void *))
CHECK_FUNCTION(uwsgi_alarm_trigger, void (*)(char *, char *, size_t))
CHECK_FUNCTION(uwsgi_register_hook, void (*)(char *, int (*)(char *)))
CHECK_FUNCTION(add_exported_option, void (*)(char *, char *, int))
CHECK_FUNCTION(uwsgi_envdirs, void (*)(struct uwsgi_string_list *))
CHECK_FUNCTION(uwsgi_log, void (*)(const char *, ...))

CHECK_MEMBER(uwsgi_plugin, on_load, void (*)(void))
CHECK_MEMBER(uwsgi_plugin, init, int (*)(void))
CHECK_MEMBER(uwsgi_plugin, post_init, void (*)(void))
CHECK_MEMBER(uwsgi_plugin, master_fixup, void (*)(int))
CHECK_MEMBER(uwsgi_plugin, master_cycle, void (*)(void))
CHECK_MEMBER(uwsgi_plugin, postinit_apps, void (*)(void))
CHECK_MEMBER(uwsgi_plugin, master_cleanup, void (*)(void))
CHECK_MEMBER(uwsgi_plugin, options, struct uwsgi_option *)

CHECK_MEMBER(uwsgi_legion, encrypt_ctx, EVP_CIPHER_CTX *)
CHECK_MEMBER(uwsgi_legion, nodes_head, struct uwsgi_legion_node *)
CHECK_MEMBER(uwsgi_legion, lord_hooks, struct uwsgi_string_list *)
CHECK_MEMBER(uwsgi_legion, suspended_til, time_t)
CHECK_MEMBER(uwsgi_legion, i_am_the_lord, time_t)
CHECK_MEMBER(uwsgi_legion, last_warning, time_t)
CHECK_MEMBER(uwsgi_legion_node, last_seen, time_t)

CHECK_MEMBER(uwsgi_metric, ptr, int64_t *)
_Static_assert(UWSGI_METRIC_COUNTER == 0 && UWSGI_METRIC_GAUGE == 1, "the types of metrics differ in this uWSGI");

#endif
