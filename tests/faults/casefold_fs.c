/* A file system as those of macOS and Windows are: it takes names that differ only in the case of ASCII
 * letters for one, and "é" for "e" with a combining accent. Its files are those of a folder, under folded
 * names: casefold_fs FOLDER PLACE [FUSE's options]. */
#define FUSE_USE_VERSION 314
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int root; /* the folder with the files */

/* A name below the root, and its folded form. */
typedef struct folded {
	char path[4096];
} folded;

static folded fold(const char *path)
{
	static const char accent[] = "e\xcc\x81"; /* the letter and U+0301 */
	folded f = {"."};
	size_t size = 1;
	while (*path && size + 3 < sizeof(f.path)) {
		if (strncmp(path, accent, 3) == 0) {
			f.path[size++] = (char)0xc3;
			f.path[size++] = (char)0xa9;
			path += 3;
		} else {
			f.path[size++] = (char)tolower((unsigned char)*path++);
		}
	}
	f.path[size] = 0;
	return f;
}

static int answer(int result)
{
	return result < 0 ? -errno : result;
}

static int fs_getattr(const char *path, struct stat *info, struct fuse_file_info *file)
{
	(void)file;
	return answer(fstatat(root, fold(path).path, info, AT_SYMLINK_NOFOLLOW));
}

static int fs_mkdir(const char *path, mode_t mode)
{
	return answer(mkdirat(root, fold(path).path, mode));
}

static int fs_unlink(const char *path)
{
	return answer(unlinkat(root, fold(path).path, 0));
}

static int fs_rmdir(const char *path)
{
	return answer(unlinkat(root, fold(path).path, AT_REMOVEDIR));
}

static int fs_link(const char *from, const char *to)
{
	return answer(linkat(root, fold(from).path, root, fold(to).path, 0));
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
	return flags ? -EINVAL : answer(renameat(root, fold(from).path, root, fold(to).path));
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *file)
{
	int fd = openat(root, fold(path).path, file->flags | O_CREAT, mode);
	file->fh = (uint64_t)fd;
	return fd < 0 ? -errno : 0;
}

static int fs_open(const char *path, struct fuse_file_info *file)
{
	return fs_create(path, 0, file);
}

static int fs_read(const char *path, char *data, size_t size, off_t offset, struct fuse_file_info *file)
{
	(void)path;
	return answer((int)pread((int)file->fh, data, size, offset));
}

static int fs_write(const char *path, const char *data, size_t size, off_t offset,
                    struct fuse_file_info *file)
{
	(void)path;
	return answer((int)pwrite((int)file->fh, data, size, offset));
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *file)
{
	int fd = file ? (int)file->fh : openat(root, fold(path).path, O_WRONLY);
	int result = answer(ftruncate(fd, size));
	if (!file && fd >= 0)
		close(fd);
	return result;
}

static int fs_release(const char *path, struct fuse_file_info *file)
{
	(void)path;
	return answer(close((int)file->fh));
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *file, enum fuse_readdir_flags flags)
{
	(void)offset, (void)file, (void)flags;
	int fd = openat(root, fold(path).path, O_RDONLY | O_DIRECTORY);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	if (!folder)
		return -errno;
	for (struct dirent *next; (next = readdir(folder));)
		fill(buffer, next->d_name, NULL, 0, 0);
	closedir(folder);
	return 0;
}

/* Without it, one file would have an inode for each of its names. */
static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
	(void)connection;
	config->use_ino = 1;
	return NULL;
}

static const struct fuse_operations operations = {
    .init = fs_init,
    .getattr = fs_getattr,
    .mkdir = fs_mkdir,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .link = fs_link,
    .rename = fs_rename,
    .create = fs_create,
    .open = fs_open,
    .read = fs_read,
    .write = fs_write,
    .truncate = fs_truncate,
    .release = fs_release,
    .readdir = fs_readdir,
};

int main(int argc, char **argv)
{
	if (argc < 3 || (root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		fprintf(stderr, "casefold_fs: needs a folder, and where to mount it\n");
		return 2;
	}
	argv[1] = argv[0];
	return fuse_main(argc - 1, argv + 1, &operations, NULL);
}
