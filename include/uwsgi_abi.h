/*
	The part of uWSGI's ABI that the plugin relies on, in C.

	uWSGI promises no stable ABI, but from 2.0.1 to 2.0.31 these structs have kept their layout:
	uwsgi_plugin has only grown at its end, after exception_log, and the others have not changed. So
	one plugin works with all of these versions.

	The structs mirror uwsgi.h of uWSGI 2.0.1, the oldest supported version. The table at the end
	gives the same in numbers. abi_check.c compares it with the uwsgi.h of the uWSGI that will load
	the plugin, and a unit test in src/uwsgi/abi.rs compares it with the Rust mirrors.
*/

#ifndef HZ_UWSGI_ABI_H
#define HZ_UWSGI_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifndef __LP64__
#error "uwsgi-hetzner supports 64 bit systems only (LP64)."
#endif

/* As of 2.0.1. A hook that the plugin does not use is void (*)(void) here, whatever its real type. */
struct hz_uwsgi_plugin {
	const char *name;
	const char *alias;
	uint8_t modifier1;
	void *data;
	void (*on_load)(void);
	int (*init)(void);
	void (*post_init)(void);
	void (*post_fork)(void);
	struct hz_uwsgi_option *options;
	void (*enable_threads)(void);
	void (*init_thread)(void);
	void (*request)(void);
	void (*after_request)(void);
	void (*preinit_apps)(void);
	void (*init_apps)(void);
	void (*postinit_apps)(void);
	void (*fixup)(void);
	void (*master_fixup)(int);
	void (*master_cycle)(void);
	void (*mount_app)(void);
	void (*manage_udp)(void);
	void (*suspend)(void);
	void (*resume)(void);
	void (*harakiri)(void);
	void (*hijack_worker)(void);
	void (*spooler_init)(void);
	void (*atexit)(void);
	void (*magic)(void);
	void (*encode_string)(void);
	void (*decode_string)(void);
	void (*signal_handler)(void);
	void (*code_string)(void);
	void (*spooler)(void);
	void (*rpc)(void);
	void (*jail)(void);
	void (*post_jail)(void);
	void (*before_privileges_drop)(void);
	void (*mule)(void);
	void (*mule_msg)(void);
	void (*master_cleanup)(void);
	void (*backtrace)(void);
	void (*exception_class)(void);
	void (*exception_msg)(void);
	void (*exception_repr)(void);
	void (*exception_log)(void);
};

struct hz_uwsgi_option {
	char *name;
	int type;
	int shortcut;
	char *help;
	void (*func)(char *, char *, void *);
	void *data;
	uint64_t flags;
};

struct hz_uwsgi_string_list {
	char *value;
	size_t len;
	uint64_t custom;
	uint64_t custom2;
	void *custom_ptr;
	struct hz_uwsgi_string_list *next;
};

struct hz_uwsgi_legion_node {
	char *name;
	uint16_t name_len;
	uint64_t valor;
	char uuid[37];
	char *scroll;
	uint16_t scroll_len;
	uint64_t checksum;
	uint64_t lord_valor;
	char lord_uuid[36];
	time_t last_seen;
	struct hz_uwsgi_legion_node *prev;
	struct hz_uwsgi_legion_node *next;
};

struct hz_uwsgi_legion {
	char *legion;
	uint16_t legion_len;
	uint64_t valor;
	char *addr;
	char *name;
	uint16_t name_len;
	pid_t pid;
	char uuid[37];
	int socket;
	int quorum;
	int changed;
	int dead;
	int joined;
	uint64_t checksum;
	char *scroll;
	uint16_t scroll_len;
	char *lord_scroll;
	uint16_t lord_scroll_len;
	uint16_t lord_scroll_size;
	char lord_uuid[36];
	uint64_t lord_valor;
	time_t i_am_the_lord;
	time_t unix_check;
	time_t last_warning;
	void *lock;        /* struct uwsgi_lock_item * */
	void *encrypt_ctx; /* EVP_CIPHER_CTX * */
	void *decrypt_ctx; /* EVP_CIPHER_CTX * */
	char *scrolls;
	uint64_t scrolls_len;
	uint64_t scrolls_max_size;
	struct hz_uwsgi_legion_node *nodes_head;
	struct hz_uwsgi_legion_node *nodes_tail;
	struct hz_uwsgi_string_list *nodes;
	struct hz_uwsgi_string_list *lord_hooks;
	struct hz_uwsgi_string_list *unlord_hooks;
	struct hz_uwsgi_string_list *setup_hooks;
	struct hz_uwsgi_string_list *death_hooks;
	struct hz_uwsgi_string_list *join_hooks;
	struct hz_uwsgi_string_list *node_joined_hooks;
	struct hz_uwsgi_string_list *node_left_hooks;
	time_t suspended_til;
	struct hz_uwsgi_legion *next;
};

struct hz_uwsgi_legion_action {
	char *name;
	int (*func)(struct hz_uwsgi_legion *, char *);
	char *log_msg;
	struct hz_uwsgi_legion_action *next;
};

/* Its beginning. uWSGI makes them, and later versions append to it. */
struct hz_uwsgi_metric {
	char *name;
	char *oid;
	size_t name_len;
	size_t oid_len;
	char *asn;
	size_t asn_len;
	uint8_t type;
	int64_t initial_value;
	int64_t *value;
};

/*
	The table, in bytes. It has one entry per line, because the Rust test parses it:

	ABI_FIELD(struct, field, offset, size)
	ABI_SIZE(struct, size)                   the same in every version
	ABI_ROOM(struct, oldest, room)           its size in 2.0.1, and the room that the plugin gives it
*/
#define HZ_UWSGI_ABI(ABI_FIELD, ABI_SIZE, ABI_ROOM) \
    ABI_FIELD(uwsgi_plugin, name, 0, 8) \
    ABI_FIELD(uwsgi_plugin, alias, 8, 8) \
    ABI_FIELD(uwsgi_plugin, modifier1, 16, 1) \
    ABI_FIELD(uwsgi_plugin, data, 24, 8) \
    ABI_FIELD(uwsgi_plugin, on_load, 32, 8) \
    ABI_FIELD(uwsgi_plugin, init, 40, 8) \
    ABI_FIELD(uwsgi_plugin, post_init, 48, 8) \
    ABI_FIELD(uwsgi_plugin, post_fork, 56, 8) \
    ABI_FIELD(uwsgi_plugin, options, 64, 8) \
    ABI_FIELD(uwsgi_plugin, postinit_apps, 120, 8) \
    ABI_FIELD(uwsgi_plugin, master_fixup, 136, 8) \
    ABI_FIELD(uwsgi_plugin, master_cycle, 144, 8) \
    ABI_FIELD(uwsgi_plugin, atexit, 208, 8) \
    ABI_FIELD(uwsgi_plugin, master_cleanup, 312, 8) \
    ABI_ROOM(uwsgi_plugin, 360, 512) \
    ABI_FIELD(uwsgi_option, name, 0, 8) \
    ABI_FIELD(uwsgi_option, type, 8, 4) \
    ABI_FIELD(uwsgi_option, shortcut, 12, 4) \
    ABI_FIELD(uwsgi_option, help, 16, 8) \
    ABI_FIELD(uwsgi_option, func, 24, 8) \
    ABI_FIELD(uwsgi_option, data, 32, 8) \
    ABI_FIELD(uwsgi_option, flags, 40, 8) \
    ABI_SIZE(uwsgi_option, 48) \
    ABI_FIELD(uwsgi_string_list, value, 0, 8) \
    ABI_FIELD(uwsgi_string_list, len, 8, 8) \
    ABI_FIELD(uwsgi_string_list, custom, 16, 8) \
    ABI_FIELD(uwsgi_string_list, custom_ptr, 32, 8) \
    ABI_FIELD(uwsgi_string_list, next, 40, 8) \
    ABI_SIZE(uwsgi_string_list, 48) \
    ABI_FIELD(uwsgi_legion_node, name, 0, 8) \
    ABI_FIELD(uwsgi_legion_node, name_len, 8, 2) \
    ABI_FIELD(uwsgi_legion_node, valor, 16, 8) \
    ABI_FIELD(uwsgi_legion_node, uuid, 24, 37) \
    ABI_FIELD(uwsgi_legion_node, checksum, 80, 8) \
    ABI_FIELD(uwsgi_legion_node, lord_valor, 88, 8) \
    ABI_FIELD(uwsgi_legion_node, lord_uuid, 96, 36) \
    ABI_FIELD(uwsgi_legion_node, last_seen, 136, 8) \
    ABI_FIELD(uwsgi_legion_node, next, 152, 8) \
    ABI_SIZE(uwsgi_legion_node, 160) \
    ABI_FIELD(uwsgi_legion, legion, 0, 8) \
    ABI_FIELD(uwsgi_legion, legion_len, 8, 2) \
    ABI_FIELD(uwsgi_legion, valor, 16, 8) \
    ABI_FIELD(uwsgi_legion, addr, 24, 8) \
    ABI_FIELD(uwsgi_legion, uuid, 48, 37) \
    ABI_FIELD(uwsgi_legion, socket, 88, 4) \
    ABI_FIELD(uwsgi_legion, quorum, 92, 4) \
    ABI_FIELD(uwsgi_legion, dead, 100, 4) \
    ABI_FIELD(uwsgi_legion, joined, 104, 4) \
    ABI_FIELD(uwsgi_legion, lord_valor, 184, 8) \
    ABI_FIELD(uwsgi_legion, i_am_the_lord, 192, 8) \
    ABI_FIELD(uwsgi_legion, last_warning, 208, 8) \
    ABI_FIELD(uwsgi_legion, lock, 216, 8) \
    ABI_FIELD(uwsgi_legion, encrypt_ctx, 224, 8) \
    ABI_FIELD(uwsgi_legion, nodes_head, 264, 8) \
    ABI_FIELD(uwsgi_legion, nodes_tail, 272, 8) \
    ABI_FIELD(uwsgi_legion, nodes, 280, 8) \
    ABI_FIELD(uwsgi_legion, lord_hooks, 288, 8) \
    ABI_FIELD(uwsgi_legion, unlord_hooks, 296, 8) \
    ABI_FIELD(uwsgi_legion, setup_hooks, 304, 8) \
    ABI_FIELD(uwsgi_legion, death_hooks, 312, 8) \
    ABI_FIELD(uwsgi_legion, join_hooks, 320, 8) \
    ABI_FIELD(uwsgi_legion, node_joined_hooks, 328, 8) \
    ABI_FIELD(uwsgi_legion, node_left_hooks, 336, 8) \
    ABI_FIELD(uwsgi_legion, suspended_til, 344, 8) \
    ABI_FIELD(uwsgi_legion, next, 352, 8) \
    ABI_SIZE(uwsgi_legion, 360) \
    ABI_FIELD(uwsgi_legion_action, name, 0, 8) \
    ABI_FIELD(uwsgi_legion_action, func, 8, 8) \
    ABI_FIELD(uwsgi_legion_action, log_msg, 16, 8) \
    ABI_FIELD(uwsgi_legion_action, next, 24, 8) \
    ABI_SIZE(uwsgi_legion_action, 32) \
    ABI_FIELD(uwsgi_metric, name, 0, 8) \
    ABI_FIELD(uwsgi_metric, type, 48, 1) \
    ABI_FIELD(uwsgi_metric, initial_value, 56, 8) \
    ABI_FIELD(uwsgi_metric, value, 64, 8) \
    /* the end */

#endif
