/* A disk that fails: preloaded into a program, between it and the C library.
 *
 * Knows the files under $FAULTY_DISK_UNDER and no others. What fails, and when, is
 * told by the numbers in the file $FAULTY_DISK_CONTROL, which the test changes while
 * the program runs. With $FAULTY_DISK_LOG every write, sync, truncation, creation and
 * removal is noted there in the order it happened, so that the test can say what a
 * power loss would have left. Decides nothing about what must be true then.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES 4096
#define LONGEST 256

enum { WRITE = 1, SYNC = 2, TRUNCATE = 3, CREATE = 4, REMOVE = 5, RENAME = 6 };

/* In the order in which tests/support/faulty_disk.py reads and writes them. */
struct control {
    _Atomic int64_t room;        /* bytes that files may still grow by; < 0: any */
    _Atomic int64_t writes_left; /* writes up to the one that fails; < 0: none does */
    _Atomic int64_t syncs_left;  /* the same of syncs */
    _Atomic int64_t lasting;     /* whether all after it fail too */
    _Atomic int64_t struck;      /* how often something was refused */
    _Atomic int64_t writes;      /* how many there were */
    _Atomic int64_t syncs;
};

struct record {
    int64_t nanoseconds; /* CLOCK_MONOTONIC, after it was done */
    int64_t offset;      /* of a write; the length of a truncation */
    int32_t kind;
    int32_t name; /* bytes of the name that follows */
    int64_t data; /* bytes that follow the name */
};

static struct control *control;
static const char *under;
static size_t under_length;
static int log_descriptor = -1;
static char *names[FILES]; /* by descriptor; relative to `under`, "" for itself */

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rename)(const char *, const char *);
static int (*real_fallocate)(int, off_t, off_t);

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Also before our turn comes, if another library opens a file when it is loaded. */
__attribute__((constructor)) static void begin(void) {
    if (real_open)
        return;
    real_open = real("open64");
    real_openat = real("openat64");
    real_close = real("close");
    real_write = real("write");
    real_pwrite = real("pwrite64");
    real_ftruncate = real("ftruncate64");
    real_fsync = real("fsync");
    real_fdatasync = real("fdatasync");
    real_unlink = real("unlink");
    real_unlinkat = real("unlinkat");
    real_rename = real("rename");
    real_fallocate = real("posix_fallocate64");
    const char *path = getenv("FAULTY_DISK_CONTROL");
    int descriptor = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE,
                         MAP_SHARED, descriptor, 0);
        control = map == MAP_FAILED ? NULL : map;
        real_close(descriptor);
    }
    const char *log = getenv("FAULTY_DISK_LOG");
    if (log)
        log_descriptor =
            real_open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    /* A copy: PostgreSQL writes its title over where it got its environment. */
    if ((under = getenv("FAULTY_DISK_UNDER")) && (under = strdup(under)))
        under_length = strlen(under);
}

/* The name of a path of ours, NULL for any other. PostgreSQL names its files from the
 * directory that it is in, and stays there. */
static const char *ours(const char *path) {
    char here[PATH_MAX];
    begin();
    if (!control || !under_length || !path)
        return NULL;
    if (path[0] != '/' && getcwd(here, sizeof here) && !strcmp(here, under))
        return path;
    if (strncmp(path, under, under_length))
        return NULL;
    if (path[under_length] == '/')
        return path + under_length + 1;
    return path[under_length] ? NULL : "";
}

static const char *name_of(int descriptor) {
    begin();
    return descriptor >= 0 && descriptor < FILES ? names[descriptor] : NULL;
}

static void note(int kind, const char *name, int64_t offset, const void *data,
                 size_t length) {
    if (log_descriptor < 0)
        return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct record record = {now.tv_sec * 1000000000LL + now.tv_nsec, offset, kind,
                            (int32_t)strlen(name), (int64_t)length};
    struct iovec parts[] = {{&record, sizeof record},
                            {(void *)name, strlen(name)},
                            {(void *)data, length}};
    int before = errno;
    /* One call, so that threads do not come between. */
    syscall(SYS_writev, log_descriptor, parts, 3);
    errno = before;
}

static int refuse(int reason) {
    atomic_fetch_add(&control->struck, 1);
    errno = reason;
    return -1;
}

/* Whether this is the one that fails, of those that are counted down. */
static int strikes(_Atomic int64_t *left) {
    int64_t now = atomic_load(left);
    if (now < 0)
        return 0;
    if (now == 0)
        return atomic_load(&control->lasting) != 0;
    return atomic_fetch_sub(left, 1) == 1;
}

/* How much of a write there is room for. */
static size_t fitting(int descriptor, off_t offset, size_t length) {
    struct stat found;
    if (atomic_load(&control->room) < 0 || fstat(descriptor, &found))
        return length;
    off_t over = offset + (off_t)length - found.st_size;
    if (over <= 0)
        return length;
    int64_t room = atomic_load(&control->room);
    int64_t missing = over > room ? over - room : 0;
    if (missing >= (int64_t)length)
        return 0;
    atomic_fetch_sub(&control->room, over - missing);
    return length - (size_t)missing;
}

static ssize_t put(int descriptor, const void *data, size_t length, off_t offset) {
    const char *name = names[descriptor];
    atomic_fetch_add(&control->writes, 1);
    if (strikes(&control->writes_left))
        return refuse(EIO);
    size_t fits = fitting(descriptor, offset, length);
    if (!fits && length)
        return refuse(ENOSPC);
    ssize_t done = real_pwrite(descriptor, data, fits, offset);
    if (done > 0)
        note(WRITE, name, offset, data, (size_t)done);
    return done;
}

static int opened(int descriptor, const char *name, int is_new) {
    if (name && descriptor >= 0 && descriptor < FILES) {
        free(names[descriptor]);
        names[descriptor] = strndup(name, LONGEST);
        if (is_new)
            note(CREATE, name, 0, NULL, 0);
    }
    return descriptor;
}

static int open_any(int directory, const char *path, int flags, mode_t mode) {
    const char *name = ours(path);
    struct stat found;
    int is_new = name && (flags & O_CREAT) && stat(path, &found) != 0;
    if (is_new && atomic_load(&control->room) == 0)
        return refuse(ENOSPC);
    int descriptor = real_openat(directory, path, flags, mode);
    opened(descriptor, name, is_new);
    if (name && descriptor >= 0 && (flags & O_TRUNC))
        note(TRUNCATE, name, 0, NULL, 0);
    return descriptor;
}

#define MODE(flags)                                                                    \
    mode_t mode = 0;                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                             \
        va_list more;                                                                  \
        va_start(more, flags);                                                         \
        mode = va_arg(more, mode_t);                                                   \
        va_end(more);                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    MODE(flags)
    return open_any(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    MODE(flags)
    return open_any(directory, path, flags, mode);
}

int close(int descriptor) {
    if (name_of(descriptor)) {
        free(names[descriptor]);
        names[descriptor] = NULL;
    }
    return real_close(descriptor);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) {
    if (!name_of(descriptor))
        return real_pwrite(descriptor, data, length, offset);
    return put(descriptor, data, length, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) {
    return pwrite64(descriptor, data, length, offset);
}

ssize_t write(int descriptor, const void *data, size_t length) {
    if (!name_of(descriptor))
        return real_write(descriptor, data, length);
    struct stat found;
    int is_appending = fcntl(descriptor, F_GETFL) & O_APPEND;
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    if (is_appending && !fstat(descriptor, &found))
        offset = found.st_size;
    ssize_t done = put(descriptor, data, length, offset);
    if (done > 0)
        lseek(descriptor, offset + done, SEEK_SET);
    return done;
}

int ftruncate64(int descriptor, off64_t length) {
    const char *name = name_of(descriptor);
    if (!name)
        return real_ftruncate(descriptor, length);
    if (strikes(&control->writes_left))
        return refuse(EIO);
    int done = real_ftruncate(descriptor, length);
    if (!done)
        note(TRUNCATE, name, length, NULL, 0);
    return done;
}

int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

int posix_fallocate64(int descriptor, off64_t offset, off64_t length) {
    const char *name = name_of(descriptor);
    if (name && fitting(descriptor, offset, (size_t)length) < (size_t)length) {
        refuse(ENOSPC);
        return ENOSPC;
    }
    int code = real_fallocate(descriptor, offset, length);
    struct stat found;
    if (name && !code && !fstat(descriptor, &found))
        note(TRUNCATE, name, found.st_size, NULL, 0);
    return code;
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
    return posix_fallocate64(descriptor, offset, length);
}

static int synced(int descriptor, int (*sync)(int)) {
    const char *name = name_of(descriptor);
    if (!name)
        return sync(descriptor);
    atomic_fetch_add(&control->syncs, 1);
    if (strikes(&control->syncs_left))
        return refuse(EIO);
    /* While it is noted what a sync would have kept, there is no need for one. */
    int code = log_descriptor < 0 ? sync(descriptor) : 0;
    if (!code)
        note(SYNC, name, 0, NULL, 0);
    return code;
}

int fsync(int descriptor) { return synced(descriptor, real_fsync); }

int fdatasync(int descriptor) { return synced(descriptor, real_fdatasync); }

int unlink(const char *path) {
    const char *name = ours(path);
    int code = real_unlink(path);
    if (name && !code)
        note(REMOVE, name, 0, NULL, 0);
    return code;
}

int unlinkat(int directory, const char *path, int flags) {
    const char *name = ours(path);
    int code = real_unlinkat(directory, path, flags);
    if (name && !code)
        note(REMOVE, name, 0, NULL, 0);
    return code;
}

int rename(const char *before, const char *after) {
    const char *name = ours(before), *now = ours(after);
    int code = real_rename(before, after);
    if (name && now && !code)
        note(RENAME, name, 0, now, strlen(now));
    return code;
}
