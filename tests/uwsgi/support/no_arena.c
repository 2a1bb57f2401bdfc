/*
	Preloaded, it refuses the plugin the memory for its arena (src/isolation/arena.rs), as a kernel may.
	Takeovers then use malloc's memory, which valgrind knows byte by byte, unlike an arena.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
	static const char said[] = "no_arena: refused\n";
	if (length >= 1 << 20 && flags & MAP_NORESERVE && flags & MAP_ANONYMOUS) {
		if (write(2, said, sizeof said - 1) < 0)
			_exit(1);
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *) syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
