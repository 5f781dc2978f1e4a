/* Records what one process does to files below RELAY_RECORD_ROOT, in the order in which it happened, into the file
 * RELAY_RECORD_LOG. Preloaded. Each record: magic, operation, inode, offset, length of path, of second path, of data; then
 * these. One lock is held over call and record, so that the order in the log is the order on the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, SYNC, SYNC_DIR, CREATE, TRUNCATE, RENAME, UNLINK, MKDIR, LINK };

struct head {
    uint32_t magic, op;
    uint64_t inode, offset;
    uint32_t path, second;
    uint64_t data;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_length;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    const char *where = getenv("RELAY_RECORD_LOG"), *below = getenv("RELAY_RECORD_ROOT");
    if (!where || !below || strlen(below) >= sizeof root) return;
    strcpy(root, below);
    root_length = strlen(root);
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, where, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Index and logs are not part of what must survive: the index is rebuilt, nobody reads the logs. */
static int wanted(const char *path) {
    size_t length = strlen(path);
    if (log_fd < 0 || strncmp(path, root, root_length) != 0) return 0;
    if (path[root_length] != 0 && path[root_length] != '/') return 0;
    if (length > 4 && strcmp(path + length - 4, ".log") == 0) return 0;
    return !(length > 4 && strcmp(path + length - 4, "-shm") == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return wanted(path);
}

/* A path as given, made absolute; the directories are not resolved further: we use no symbolic links. */
static int absolute(int dir, const char *given, char *path) {
    if (log_fd < 0 || !given) return 0;
    if (given[0] == '/') {
        if (strlen(given) >= PATH_MAX) return 0;
        strcpy(path, given);
    } else {
        char base[PATH_MAX];
        if (dir == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
            ssize_t length = readlink(link, base, sizeof base - 1);
            if (length < 0) return 0;
            base[length] = 0;
        }
        if (strlen(base) + strlen(given) + 2 > PATH_MAX) return 0;
        sprintf(path, "%s/%s", base, given);
    }
    return wanted(path);
}

static uint64_t inode_of(int fd) {
    struct stat s;
    return fstat(fd, &s) == 0 ? (uint64_t)s.st_ino : 0;
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, log_fd, at, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) _exit(97);
        at += done;
        length -= (size_t)done;
    }
}

static void record(int op, uint64_t inode, uint64_t offset, const char *path, const char *second,
                   const struct iovec *data, int parts, size_t length) {
    struct head head = { 0x52454C59u, (uint32_t)op, inode, offset, (uint32_t)strlen(path),
                         second ? (uint32_t)strlen(second) : 0, length };
    put(&head, sizeof head);
    put(path, head.path);
    if (second) put(second, head.second);
    for (int i = 0; i < parts && length > 0; i++) {
        size_t part = data[i].iov_len < length ? data[i].iov_len : length;
        put(data[i].iov_base, part);
        length -= part;
    }
}

#define BEGIN int saved_ = 0; if (log_fd >= 0) pthread_mutex_lock(&lock)
#define END do { saved_ = errno; if (log_fd >= 0) pthread_mutex_unlock(&lock); errno = saved_; } while (0)

static uint64_t place_of(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND)) {
        struct stat s;
        return fstat(fd, &s) == 0 ? (uint64_t)s.st_size : 0;
    }
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

static void wrote(int fd, uint64_t at, const struct iovec *data, int parts, ssize_t done) {
    char path[PATH_MAX];
    if (done > 0 && path_of(fd, path)) record(WRITE, inode_of(fd), at, path, NULL, data, parts, (size_t)done);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (log_fd < 0) return REAL(write)(fd, bytes, length);
    BEGIN;
    uint64_t at = place_of(fd);
    ssize_t done = REAL(write)(fd, bytes, length);
    struct iovec one = { (void *)bytes, length };
    int error = errno;
    wrote(fd, at, &one, 1, done);
    errno = error;
    END;
    return done;
}

ssize_t writev(int fd, const struct iovec *data, int parts) {
    BEGIN;
    uint64_t at = log_fd >= 0 ? place_of(fd) : 0;
    ssize_t done = REAL(writev)(fd, data, parts);
    int error = errno;
    wrote(fd, at, data, parts, done);
    errno = error;
    END;
    return done;
}

#define PWRITE(name, type) \
    ssize_t name(int fd, const void *bytes, size_t length, type at) { \
        BEGIN; \
        ssize_t done = REAL(name)(fd, bytes, length, at); \
        struct iovec one = { (void *)bytes, length }; \
        int error = errno; \
        wrote(fd, (uint64_t)at, &one, 1, done); \
        errno = error; \
        END; \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, type) \
    ssize_t name(int fd, const struct iovec *data, int parts, type at) { \
        BEGIN; \
        ssize_t done = REAL(name)(fd, data, parts, at); \
        int error = errno; \
        wrote(fd, (uint64_t)at, data, parts, done); \
        errno = error; \
        END; \
        return done; \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

static void synced(int fd, int result) {
    char path[PATH_MAX];
    struct stat s;
    if (result != 0 || !path_of(fd, path) || fstat(fd, &s) != 0) return;
    record(S_ISDIR(s.st_mode) ? SYNC_DIR : SYNC, (uint64_t)s.st_ino, 0, path, NULL, NULL, 0, 0);
}

#define SYNCS(name) \
    int name(int fd) { \
        BEGIN; \
        int result = REAL(name)(fd); \
        int error = errno; \
        synced(fd, result); \
        errno = error; \
        END; \
        return result; \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define FTRUNCATE(name, type) \
    int name(int fd, type length) { \
        BEGIN; \
        int result = REAL(name)(fd, length); \
        int error = errno; \
        char path[PATH_MAX]; \
        if (result == 0 && path_of(fd, path)) record(TRUNCATE, inode_of(fd), (uint64_t)length, path, NULL, NULL, 0, 0); \
        errno = error; \
        END; \
        return result; \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

static void opened(int fd, int flags) {
    char path[PATH_MAX];
    if (fd < 0 || !path_of(fd, path)) return;
    if (flags & O_CREAT) record(CREATE, inode_of(fd), 0, path, NULL, NULL, 0, 0);
    if ((flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) record(TRUNCATE, inode_of(fd), 0, path, NULL, NULL, 0, 0);
}

#define MODE(flags, last) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, last); mode = va_arg(list, mode_t); va_end(list); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        MODE(flags, flags) \
        BEGIN; \
        int fd = REAL(name)(path, flags, mode); \
        int error = errno; \
        opened(fd, flags); \
        errno = error; \
        END; \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        MODE(flags, flags) \
        BEGIN; \
        int fd = REAL(name)(dir, path, flags, mode); \
        int error = errno; \
        opened(fd, flags); \
        errno = error; \
        END; \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

#define TWO_PATHS(op, call, from_dir, from_path, to_dir, to_path) \
    BEGIN; \
    char from[PATH_MAX], to[PATH_MAX]; \
    int both = absolute(from_dir, from_path, from) & absolute(to_dir, to_path, to); \
    int result = call; \
    int error = errno; \
    if (result == 0 && both) record(op, 0, 0, from, to, NULL, 0, 0); \
    errno = error; \
    END; \
    return result;

int rename(const char *a, const char *b) { TWO_PATHS(RENAME, REAL(rename)(a, b), AT_FDCWD, a, AT_FDCWD, b) }
int renameat(int ad, const char *a, int bd, const char *b) { TWO_PATHS(RENAME, REAL(renameat)(ad, a, bd, b), ad, a, bd, b) }
int renameat2(int ad, const char *a, int bd, const char *b, unsigned flags) {
    TWO_PATHS(RENAME, REAL(renameat2)(ad, a, bd, b, flags), ad, a, bd, b)
}
int link(const char *a, const char *b) { TWO_PATHS(LINK, REAL(link)(a, b), AT_FDCWD, a, AT_FDCWD, b) }
int linkat(int ad, const char *a, int bd, const char *b, int flags) {
    TWO_PATHS(LINK, REAL(linkat)(ad, a, bd, b, flags), ad, a, bd, b)
}

#define ONE_PATH(op, call, dir, given) \
    BEGIN; \
    char path[PATH_MAX]; \
    int ours = absolute(dir, given, path); \
    int result = call; \
    int error = errno; \
    if (result == 0 && ours) record(op, 0, 0, path, NULL, NULL, 0, 0); \
    errno = error; \
    END; \
    return result;

int unlink(const char *given) { ONE_PATH(UNLINK, REAL(unlink)(given), AT_FDCWD, given) }
int unlinkat(int dir, const char *given, int flags) { ONE_PATH(UNLINK, REAL(unlinkat)(dir, given, flags), dir, given) }
int rmdir(const char *given) { ONE_PATH(UNLINK, REAL(rmdir)(given), AT_FDCWD, given) }
int mkdir(const char *given, mode_t mode) { ONE_PATH(MKDIR, REAL(mkdir)(given, mode), AT_FDCWD, given) }
int mkdirat(int dir, const char *given, mode_t mode) { ONE_PATH(MKDIR, REAL(mkdirat)(dir, given, mode), dir, given) }

/* Copies inside the kernel would escape the record: the caller falls back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    (void)in; (void)in_at; (void)out; (void)out_at; (void)length; (void)flags;
    errno = ENOSYS;
    return -1;
}
