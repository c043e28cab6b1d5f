/*
 * Stands between a process and its files, for the fault tests: records every change below one directory in the order in
 * which it happens, and lets syncs fail as a failing disk does. Preloaded with LD_PRELOAD; `shim.rs` builds it and says
 * how it is told what to do, `recording.rs` reads what it writes.
 *
 * It sees what goes through the C library. What does not (a raw system call, a mapped file) would be missing from the
 * record; the tests compare the record's end with the real files, so that nothing is missed unseen.
 *
 *   ARTICLE_STORE_TEST_FAULT_ROOT    the directory, an absolute path without links
 *   ARTICLE_STORE_TEST_FAULT_RECORD  where the records are appended
 *   ARTICLE_STORE_TEST_FAULT_SCRIPT  names of calls (fsync, fdatasync, sync_file_range), one a line: the first call of the
 *                                    first name fails and takes the line away. The file may come and go at any time.
 *                                    The name batch_manifest is a sync_file_range of the few bytes with which sled
 *                                    begins a batch; it fails half a second late, while a flush waits for it.
 *   ARTICLE_STORE_TEST_FAULT_KILL    a number: the process is killed behind so many records
 *   ARTICLE_STORE_TEST_FAULT_GATE    a FIFO, which may come and go: opening sled's log waits until it is opened for writing.
 *                                    A file of this name with the suffix .met is made before.
 *
 * A record is one struct record, the path and the data, appended with one write, so that others may append between.
 * Changes are made and recorded under one lock; a sync is recorded when it begins and when it ends, without the lock
 * between, except when there is a script.
 *
 * A sync that fails is Linux's: the dirty pages of the file never reach the disk, the page cache keeps them, each other
 * descriptor of the file is told once too, and POSIX_FADV_DONTNEED brings back what the disk has.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define DESCRIPTORS 4096
#define MANIFEST_BYTES 64

enum kind {
	CREATED = 1, DIRECTORY_MADE, WRITTEN, RESIZED, RENAMED, REMOVED, SYNC_BEGAN, SYNC_ENDED, SYNC_ALL_BEGAN,
	SYNC_ALL_ENDED, LOST, CACHE_DROPPED
};

/* `number` is an offset, a size, or what tells one sync from another; `error` is of a sync that ended. */
struct record {
	uint32_t kind;
	int32_t error;
	uint64_t inode;
	uint64_t number;
	uint32_t path_bytes;
	uint32_t data_bytes;
};

/* A page whose cached content is not what the disk has. */
struct page {
	int dirty;
	unsigned char disk[PAGE];
};

struct file {
	ino_t inode;
	struct page **pages;
	size_t page_count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_bytes;
static dev_t device;
static const char *script;
static int record_fd = -1;
static uint64_t syncs;
static const char *gate;
static long records_to_live = -1;
static struct file *files;
static size_t file_count;
static struct { ino_t inode; int error; } descriptors[DESCRIPTORS];

static void fail(const char *what)
{
	dprintf(2, "fault shim: %s: %s\n", what, strerror(errno));
	abort();
}

__attribute__((constructor)) static void start(void)
{
	struct stat found;
	const char *directory = getenv("ARTICLE_STORE_TEST_FAULT_ROOT");
	const char *record = getenv("ARTICLE_STORE_TEST_FAULT_RECORD");
	if (!directory || !record)
		return;
	if (stat(directory, &found))
		fail(directory);
	record_fd = syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (record_fd < 0)
		fail(record);
	device = found.st_dev;
	script = getenv("ARTICLE_STORE_TEST_FAULT_SCRIPT");
	gate = getenv("ARTICLE_STORE_TEST_FAULT_GATE");
	const char *life = getenv("ARTICLE_STORE_TEST_FAULT_KILL");
	if (life)
		records_to_live = atol(life);
	root_bytes = strlen(directory);
	root = directory;
}

static void append(struct record record, const char *path, const void *data)
{
	struct iovec parts[3] = {
		{ &record, sizeof record },
		{ (void *)path, record.path_bytes },
		{ (void *)data, record.data_bytes },
	};
	ssize_t bytes = sizeof record + record.path_bytes + record.data_bytes;
	if (syscall(SYS_writev, record_fd, parts, 3) != bytes)
		fail("cannot write the record");
	if (records_to_live > 0 && !--records_to_live)
		kill(getpid(), SIGKILL);
}

static void append_path(enum kind kind, ino_t inode, const char *path)
{
	append((struct record){ .kind = kind, .inode = inode, .path_bytes = strlen(path) }, path, NULL);
}

/* The path below the root, if that is where it leads. */
static int below_root(int directory, const char *path, char *below)
{
	char full[PATH_MAX], link[64];
	ssize_t bytes = 0;
	if (!root)
		return 0;
	if (path[0] != '/') {
		if (directory == AT_FDCWD) {
			if (!getcwd(full, sizeof full))
				return 0;
			bytes = strlen(full);
		} else {
			snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
			bytes = syscall(SYS_readlinkat, AT_FDCWD, link, full, sizeof full - 1);
			if (bytes < 0)
				return 0;
		}
		full[bytes++] = '/';
	}
	if (bytes + strlen(path) >= sizeof full)
		return 0;
	strcpy(full + bytes, path);
	if (strncmp(full, root, root_bytes) || (full[root_bytes] != '/' && full[root_bytes]))
		return 0;
	strcpy(below, full[root_bytes] ? full + root_bytes + 1 : "");
	return 1;
}

static struct file *find(ino_t inode)
{
	for (size_t at = 0; at < file_count; at++)
		if (files[at].inode == inode)
			return &files[at];
	return NULL;
}

/* The file behind a descriptor, if it was opened below the root. */
static struct file *file_of(int fd, struct stat *found)
{
	if (!root || fstat(fd, found) || found->st_dev != device)
		return NULL;
	pthread_mutex_lock(&lock);
	struct file *file = find(found->st_ino);
	pthread_mutex_unlock(&lock);
	return file;
}

static void forget_pages(struct file *file, size_t from)
{
	for (size_t at = from; at < file->page_count; at++) {
		free(file->pages[at]);
		file->pages[at] = NULL;
	}
}

static struct file *know(ino_t inode)
{
	struct file *file = find(inode);
	if (file)
		return file;
	/* Never moved: others hold pointers into it without the lock. */
	if (!files && !(files = calloc(65536, sizeof *files)))
		fail("calloc");
	if (file_count == 65536)
		fail("too many files");
	files[file_count].inode = inode;
	return &files[file_count++];
}

/* Keeps what the disk has of the pages that are about to be written. */
static void keep_disk_pages(struct file *file, int fd, off_t offset, size_t bytes)
{
	if (!script || !bytes)
		return;
	size_t end = (offset + bytes + PAGE - 1) / PAGE;
	if (end > file->page_count) {
		file->pages = realloc(file->pages, end * sizeof *file->pages);
		if (!file->pages)
			fail("realloc");
		memset(file->pages + file->page_count, 0, (end - file->page_count) * sizeof *file->pages);
		file->page_count = end;
	}
	for (size_t at = offset / PAGE; at < end; at++) {
		struct page *page = file->pages[at];
		if (!page) {
			char path[64];
			if (!(page = file->pages[at] = calloc(1, sizeof *page)))
				fail("calloc");
			/* The descriptor may be one for writing only. */
			snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
			int reader = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
			if (reader < 0 || syscall(SYS_pread64, reader, page->disk, PAGE, (off_t)(at * PAGE)) < 0)
				fail("cannot read a page");
			syscall(SYS_close, reader);
		}
		page->dirty = 1;
	}
}

static void pages_are_clean(struct file *file, int on_disk)
{
	for (size_t at = 0; at < file->page_count; at++) {
		if (!file->pages[at] || !file->pages[at]->dirty)
			continue;
		file->pages[at]->dirty = 0;
		if (on_disk) {
			free(file->pages[at]);
			file->pages[at] = NULL;
		}
	}
}

/* Whether the script's first line is this; takes it away. */
static int script_says(const char *call)
{
	char text[1024];
	int fd = syscall(SYS_openat, AT_FDCWD, script, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t bytes = syscall(SYS_read, fd, text, sizeof text);
	size_t name = strlen(call);
	int says = bytes > (ssize_t)name && !memcmp(text, call, name) && text[name] == '\n';
	if (says) {
		size_t rest = bytes - name - 1;
		if (syscall(SYS_pwrite64, fd, text + name + 1, rest, 0L) != (ssize_t)rest
		    || syscall(SYS_ftruncate, fd, rest) || (!rest && syscall(SYS_unlinkat, AT_FDCWD, script, 0)))
			fail("cannot change the script");
	}
	syscall(SYS_close, fd);
	return says;
}

static int sync_fails(struct file *file, int fd, const char *call)
{
	if (!script)
		return 0;
	if (fd < DESCRIPTORS && descriptors[fd].inode == file->inode && descriptors[fd].error) {
		descriptors[fd].error = 0;
		return 1;
	}
	if (!script_says(call))
		return 0;
	for (int other = 0; other < DESCRIPTORS; other++)
		if (other != fd && descriptors[other].inode == file->inode)
			descriptors[other].error = 1;
	append((struct record){ .kind = LOST, .inode = file->inode }, NULL, NULL);
	pages_are_clean(file, 0);
	return 1;
}

static int synced(int fd, const char *call, long number)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	if (!file)
		return syscall(number, fd);
	pthread_mutex_lock(&lock);
	struct record record = { .kind = SYNC_BEGAN, .inode = file->inode, .number = ++syncs };
	append(record, NULL, NULL);
	int result = -1, error = EIO;
	if (!sync_fails(file, fd, call)) {
		if (!script)
			pthread_mutex_unlock(&lock);
		result = syscall(number, fd);
		error = result ? errno : 0;
		if (!script)
			pthread_mutex_lock(&lock);
		if (!result)
			pages_are_clean(file, 1);
	}
	record.kind = SYNC_ENDED;
	record.error = error;
	append(record, NULL, NULL);
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

int fsync(int fd) { return synced(fd, "fsync", SYS_fsync); }

int fdatasync(int fd) { return synced(fd, "fdatasync", SYS_fdatasync); }

/* Makes nothing durable, and so is no sync in the record; it reports errors all the same. */
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned int flags)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	if (file) {
		pthread_mutex_lock(&lock);
		int late = bytes <= MANIFEST_BYTES && sync_fails(file, fd, "batch_manifest");
		int fails = late || sync_fails(file, fd, "sync_file_range");
		pthread_mutex_unlock(&lock);
		if (fails) {
			if (late)
				usleep(500000);
			errno = EIO;
			return -1;
		}
	}
	return syscall(SYS_sync_file_range, fd, offset, bytes, flags);
}

int syncfs(int fd)
{
	struct stat found;
	if (!root || fstat(fd, &found) || found.st_dev != device)
		return syscall(SYS_syncfs, fd);
	pthread_mutex_lock(&lock);
	struct record record = { .kind = SYNC_ALL_BEGAN, .number = ++syncs };
	append(record, NULL, NULL);
	if (!script)
		pthread_mutex_unlock(&lock);
	int result = syscall(SYS_syncfs, fd), error = result ? errno : 0;
	if (!script)
		pthread_mutex_lock(&lock);
	for (size_t at = 0; !result && at < file_count; at++)
		pages_are_clean(&files[at], 1);
	record.kind = SYNC_ALL_ENDED;
	record.error = error;
	append(record, NULL, NULL);
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

int posix_fadvise64(int fd, off64_t offset, off64_t bytes, int advice)
{
	struct stat found;
	struct file *file = advice == POSIX_FADV_DONTNEED ? file_of(fd, &found) : NULL;
	if (file) {
		pthread_mutex_lock(&lock);
		char path[64];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		int writer = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
		if (writer < 0)
			fail("cannot open a file again");
		for (size_t at = 0; at < file->page_count; at++) {
			struct page *page = file->pages[at];
			off_t start = at * PAGE;
			if (!page || page->dirty)
				continue;
			if (start < found.st_size) {
				size_t length = found.st_size - start < PAGE ? found.st_size - start : PAGE;
				if (syscall(SYS_pwrite64, writer, page->disk, length, start) != (ssize_t)length)
					fail("cannot bring back a page");
			}
			free(page);
			file->pages[at] = NULL;
		}
		syscall(SYS_close, writer);
		append((struct record){ .kind = CACHE_DROPPED, .inode = file->inode }, NULL, NULL);
		pthread_mutex_unlock(&lock);
	}
	return syscall(SYS_fadvise64, fd, offset, bytes, advice) ? errno : 0;
}

/* Waits where the log of a database is opened, if there is a gate. */
static void wait_at_gate(const char *below)
{
	const char *log = "/db/db";
	char met[PATH_MAX];
	if (!gate || strlen(below) < strlen(log) || strcmp(below + strlen(below) - strlen(log), log)
	    || syscall(SYS_faccessat, AT_FDCWD, gate, F_OK))
		return;
	snprintf(met, sizeof met, "%s.met", gate);
	int fd = syscall(SYS_openat, AT_FDCWD, met, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		fail(met);
	syscall(SYS_close, fd);
	fd = syscall(SYS_openat, AT_FDCWD, gate, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		syscall(SYS_close, fd);
}

static int opened(int directory, const char *path, int flags, mode_t mode)
{
	char below[PATH_MAX];
	struct stat found;
	if (!below_root(directory, path, below))
		return syscall(SYS_openat, directory, path, flags, mode);
	wait_at_gate(below);
	pthread_mutex_lock(&lock);
	int existed = !(flags & O_CREAT) || !syscall(SYS_faccessat, directory, path, F_OK);
	int fd = syscall(SYS_openat, directory, path, flags, mode), error = errno;
	if (fd >= 0) {
		if (fstat(fd, &found))
			fail("fstat");
		struct file *file = know(found.st_ino);
		if (fd < DESCRIPTORS) {
			descriptors[fd].inode = found.st_ino;
			descriptors[fd].error = 0;
		}
		if (!existed || (flags & O_TRUNC))
			forget_pages(file, 0);
		if (!existed)
			append_path(CREATED, found.st_ino, below);
		else if (flags & O_TRUNC)
			append((struct record){ .kind = RESIZED, .inode = found.st_ino }, NULL, NULL);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return fd;
}

int openat(int directory, const char *path, int flags, ...)
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return opened(directory, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return opened(AT_FDCWD, path, flags, mode);
}

int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS) {
		pthread_mutex_lock(&lock);
		descriptors[fd].inode = 0;
		pthread_mutex_unlock(&lock);
	}
	return syscall(SYS_close, fd);
}

/* Writes at an offset, or where the descriptor stands if that is -1. */
static ssize_t written(int fd, struct file *file, struct stat *found, const struct iovec *parts, int count, off_t at)
{
	size_t bytes = 0;
	for (int part = 0; part < count; part++)
		bytes += parts[part].iov_len;
	pthread_mutex_lock(&lock);
	off_t offset = at;
	if (at < 0) {
		int appends = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
		offset = appends ? found->st_size : syscall(SYS_lseek, fd, 0L, SEEK_CUR);
	}
	keep_disk_pages(file, fd, offset, bytes);
	ssize_t result = at < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, at, 0L);
	int error = errno;
	if (result > 0) {
		/* One buffer, for the record is one write. */
		char *data = malloc(result), *next = data;
		if (!data)
			fail("malloc");
		for (int part = 0; next < data + result; part++) {
			size_t left = data + result - next;
			size_t length = parts[part].iov_len < left ? parts[part].iov_len : left;
			memcpy(next, parts[part].iov_base, length);
			next += length;
		}
		append((struct record){ .kind = WRITTEN, .inode = file->inode, .number = offset, .data_bytes = result }, NULL,
		       data);
		free(data);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	struct iovec part = { (void *)data, bytes };
	return file ? written(fd, file, &found, &part, 1, -1) : syscall(SYS_write, fd, data, bytes);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	return file ? written(fd, file, &found, parts, count, -1) : syscall(SYS_writev, fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	struct iovec part = { (void *)data, bytes };
	return file ? written(fd, file, &found, &part, 1, offset) : syscall(SYS_pwrite64, fd, data, bytes, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	return file ? written(fd, file, &found, parts, count, offset)
		    : syscall(SYS_pwritev, fd, parts, count, offset, 0L);
}

static int resized(int fd, struct file *file, int result)
{
	struct stat found;
	int error = errno;
	if (!result) {
		if (fstat(fd, &found))
			fail("fstat");
		forget_pages(file, (found.st_size + PAGE - 1) / PAGE);
		append((struct record){ .kind = RESIZED, .inode = file->inode, .number = found.st_size }, NULL, NULL);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

int ftruncate(int fd, off_t size)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	if (!file)
		return syscall(SYS_ftruncate, fd, size);
	pthread_mutex_lock(&lock);
	return resized(fd, file, syscall(SYS_ftruncate, fd, size));
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	struct stat found;
	struct file *file = file_of(fd, &found);
	if (!file)
		return syscall(SYS_fallocate, fd, mode, offset, bytes);
	if (mode & ~FALLOC_FL_KEEP_SIZE) {
		errno = ENOTSUP;
		fail("this mode of fallocate cannot be recorded");
	}
	pthread_mutex_lock(&lock);
	return resized(fd, file, syscall(SYS_fallocate, fd, mode, offset, bytes));
}

static int renamed(int from_directory, const char *from, int to_directory, const char *to, unsigned int flags)
{
	char below[2 * PATH_MAX], target[PATH_MAX];
	int recorded = below_root(from_directory, from, below);
	if (recorded != below_root(to_directory, to, target) || (recorded && flags & ~RENAME_NOREPLACE)) {
		errno = ENOTSUP;
		fail("this rename cannot be recorded");
	}
	if (!recorded)
		return syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
	pthread_mutex_lock(&lock);
	int result = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags), error = errno;
	if (!result) {
		size_t length = strlen(below) + 1;
		strcpy(below + length, target);
		append((struct record){ .kind = RENAMED, .path_bytes = length + strlen(target) }, below, NULL);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	return renamed(from_directory, from, to_directory, to, 0);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned int flags)
{
	return renamed(from_directory, from, to_directory, to, flags);
}

int unlinkat(int directory, const char *path, int flags)
{
	char below[PATH_MAX];
	if (!below_root(directory, path, below))
		return syscall(SYS_unlinkat, directory, path, flags);
	pthread_mutex_lock(&lock);
	int result = syscall(SYS_unlinkat, directory, path, flags), error = errno;
	if (!result)
		append_path(REMOVED, 0, below);
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int directory, const char *path, mode_t mode)
{
	char below[PATH_MAX];
	struct stat found;
	if (!below_root(directory, path, below))
		return syscall(SYS_mkdirat, directory, path, mode);
	pthread_mutex_lock(&lock);
	int result = syscall(SYS_mkdirat, directory, path, mode), error = errno;
	if (!result) {
		if (fstatat(directory, path, &found, 0))
			fail("fstatat");
		append_path(DIRECTORY_MADE, found.st_ino, below);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return result;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* The same under the names that programs with 64-bit offsets use. */
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
int creat64(const char *, mode_t) __attribute__((alias("creat")));
ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off64_t) __attribute__((alias("pwritev")));
int ftruncate64(int, off64_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));
int posix_fadvise(int, off_t, off_t, int) __attribute__((alias("posix_fadvise64")));
