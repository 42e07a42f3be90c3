/* qstore-mount: a read-only file system with the files of an archive, decoded as they are read. */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "mount/ahead.h"
#include "mount/log.h"
#include "mount/tree.h"
#include "mount/window.h"

enum { OPTION_BASE = CLI_OPTION_FIRST, OPTION_DIGEST, OPTION_CACHE };

#define CACHE_DEFAULT_MB 64 /* the text of --cache says so too */

static const cli_option option_table[] = {
    {'p', "precision", "NAME", "low high int8 bf16 fp16 fp32",
     "only this variant's files, in DIR itself (default: all variants, each in DIR/NAME)", CLI_ONCE},
    {OPTION_BASE, "base", "OLD", CLI_ANY_FILE,
     "the model that the archive is a difference to: a folder, a file or an archive", CLI_ONCE},
    CLI_DIGEST(OPTION_DIGEST),
    {OPTION_CACHE, "cache", "MB", NULL,
     "decoded bytes to keep at most, in MB (default: 64); the system's own cache of files comes on top",
     CLI_ONCE},
    {'f', "foreground", NULL, NULL, "stay in the foreground, and unmount when interrupted", CLI_ONCE},
    {'o', "options", "OPTIONS", NULL, "options of FUSE, such as allow_other; see mount.fuse3(8)",
     CLI_REPEATS},
    CLI_THREADS("threads that decode ahead of a reader (default: all cores)"),
    CLI_COMMON,
};

static const cli_term exit_codes[] = {
    {"0", "mounted, or with --foreground unmounted"}, {"1", "failed"}, {"2", "wrong usage"}, {NULL, NULL}};

static const cli_term examples[] = {
    {"qstore-mount llama.qstore /mnt/llama", "/mnt/llama/int8 and /mnt/llama/bf16 have the model's files"},
    {"qstore-mount llama.qstore /mnt/llama --precision int8", "/mnt/llama has the INT8 model's files"},
    {"fusermount3 -u /mnt/llama", "unmounts it"},
    {NULL, NULL}};

static const cli_tool tool = {
    .name = "qstore-mount",
    .summary = "mount a qstore archive as a folder of its models' files",
    .synopsis = "FILE.qstore DIR [--precision int8|bf16|fp16|fp32|low|high] [-f] [-o OPTIONS]",
    .offers = CLI_ARCHIVE,
    .second = CLI_FOLDER,
    .description =
        "Makes DIR a read-only folder that has the files of the archive, as they were. Programs that take a "
        "path read them there; they are decoded as they are read, and every byte is compared with a "
        "checksum.\n"
        "Reading where the archive is damaged fails with EIO, and one line says why: on standard error with "
        "--foreground, else in the system's log.",
    .options = option_table,
    .exit_codes = exit_codes,
    .examples = examples,
    .see_also = "qstore-info qstore-pack qstore-unpack",
};

/* Names and sizes never change while an archive is mounted: the kernel may keep them for a day. */
#define TIMEOUT 86400.0

/* A mounted archive. */
typedef struct mount {
	qstore_archive *archive;
	tree tree;
	struct stat of_archive; /* its times and owner are those of all files */
	read_ahead *ahead;
	mount_log log;
} mount;

static void fill_stat(const mount *m, size_t number, struct stat *info)
{
	const tree_node *node = &m->tree.nodes[number];
	*info = (struct stat){
	    .st_ino = number + FUSE_ROOT_ID,
	    .st_mode = node->is_folder ? S_IFDIR | 0555 : S_IFREG | 0444,
	    .st_nlink = node->is_folder ? 2 + node->n_folders : 1,
	    .st_uid = m->of_archive.st_uid,
	    .st_gid = m->of_archive.st_gid,
	    .st_size = (off_t)node->size,
	    .st_blksize = 1 << 20,
	    .st_blocks = (blkcnt_t)((node->size + 511) / 512),
	    .st_atim = m->of_archive.st_mtim,
	    .st_mtim = m->of_archive.st_mtim,
	    .st_ctim = m->of_archive.st_mtim,
	};
}

/* The node of an inode; NULL: there is none. */
static const tree_node *node_of(const mount *m, fuse_ino_t inode)
{
	size_t number = inode - FUSE_ROOT_ID;
	return number < m->tree.n_nodes ? &m->tree.nodes[number] : NULL;
}

static void mount_init(void *user, struct fuse_conn_info *connection)
{
	(void)user;
	/* The most that the kernel grants; a request may have 1 MiB. */
	connection->max_readahead = UINT32_MAX;
}

static void mount_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	const mount *m = fuse_req_userdata(request);
	const tree_node *folder = node_of(m, parent);
	size_t number = folder ? tree_find(&m->tree, folder, name) : TREE_NONE;
	struct fuse_entry_param entry = {.attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};
	if (number == TREE_NONE) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	entry.ino = number + FUSE_ROOT_ID;
	fill_stat(m, number, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void mount_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	const mount *m = fuse_req_userdata(request);
	struct stat info;
	(void)file;
	if (!node_of(m, inode)) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	fill_stat(m, inode - FUSE_ROOT_ID, &info);
	fuse_reply_attr(request, &info, TIMEOUT);
}

static void mount_opendir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	const mount *m = fuse_req_userdata(request);
	const tree_node *node = node_of(m, inode);
	if (!node || !node->is_folder) {
		fuse_reply_err(request, ENOTDIR);
		return;
	}
	file->cache_readdir = file->keep_cache = 1;
	fuse_reply_open(request, file);
}

/* Adds an entry to the buffer of a reply; 0: it is full. offset: of the entry behind it. */
static int add_entry(fuse_req_t request, const mount *m, char *buffer, size_t size, size_t *used,
                     const char *name, size_t number, off_t offset)
{
	struct stat info;
	fill_stat(m, number, &info);
	size_t n = fuse_add_direntry(request, buffer + *used, size - *used, name, &info, offset);
	if (n > size - *used)
		return 0;
	*used += n;
	return 1;
}

static void mount_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                          struct fuse_file_info *file)
{
	const mount *m = fuse_req_userdata(request);
	const tree_node *folder = node_of(m, inode);
	char *buffer = malloc(size);
	size_t used = 0;
	(void)file;
	if (!folder || !folder->is_folder || !buffer) {
		fuse_reply_err(request, buffer ? ENOTDIR : ENOMEM);
		free(buffer);
		return;
	}
	/* Entry 0 is ".", entry 1 is "..". */
	for (size_t i = (size_t)offset; i < folder->n_children + 2; i++) {
		size_t number = i == 0 ? inode - FUSE_ROOT_ID : i == 1 ? folder->parent : folder->children[i - 2];
		const char *name = i == 0 ? "." : i == 1 ? ".." : m->tree.nodes[number].name;
		if (!add_entry(request, m, buffer, size, &used, name, number, (off_t)i + 1))
			break;
	}
	fuse_reply_buf(request, buffer, used);
	free(buffer);
}

static void mount_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	const mount *m = fuse_req_userdata(request);
	const tree_node *node = node_of(m, inode);
	if (!node || node->is_folder) {
		fuse_reply_err(request, node ? EISDIR : ENOENT);
		return;
	}
	if ((file->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(request, EROFS);
		return;
	}
	file->keep_cache = 1;
	file->fh = 0;
	fuse_reply_open(request, file);
}

static void mount_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                       struct fuse_file_info *file)
{
	mount *m = fuse_req_userdata(request);
	const tree_node *node = node_of(m, inode);
	uint64_t at = (uint64_t)offset, left = at < node->size ? node->size - at : 0;
	qstore_error error;
	(void)file;
	size = size < left ? size : (size_t)left;
	uint8_t *data = malloc(size + 1);
	if (!data) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	read_ahead_note(m->ahead, node->file, node->size, at, size);
	if (qstore_read_file(m->archive, node->file, at, size, data, NULL, &error)) {
		mount_log_add(&m->log, error.text);
		fuse_reply_err(request, EIO);
	} else {
		fuse_reply_buf(request, (char *)data, size);
	}
	free(data);
}

static void mount_statfs(fuse_req_t request, fuse_ino_t inode)
{
	const mount *m = fuse_req_userdata(request);
	uint64_t blocks = 0;
	(void)inode;
	for (size_t i = 0; i < m->tree.n_nodes; i++)
		blocks += (m->tree.nodes[i].size + 511) / 512;
	const struct statvfs info = {.f_bsize = 1 << 20,
	                             .f_frsize = 512,
	                             .f_blocks = blocks,
	                             .f_files = m->tree.n_nodes,
	                             .f_flag = ST_RDONLY | ST_NOSUID,
	                             .f_namemax = 1023};
	fuse_reply_statfs(request, &info);
}

static const struct fuse_lowlevel_ops operations = {
    .init = mount_init,
    .lookup = mount_lookup,
    .getattr = mount_getattr,
    .opendir = mount_opendir,
    .readdir = mount_readdir,
    .open = mount_open,
    .read = mount_read,
    .statfs = mount_statfs,
};

/* ---- Starting ---- */

/* The values of the arguments. */
typedef struct mount_options {
	const char *path, *folder, *precision, *base, *digest;
	cli_list fuse; /* options of FUSE */
	uint64_t cache_mb;
	int foreground;
} mount_options;

/* The arguments that libfuse's own parser takes. 0: out of memory. */
static int make_fuse_args(struct fuse_args *args, const mount_options *options)
{
	int failed =
	    fuse_opt_add_arg(args, tool.name) || fuse_opt_add_arg(args, "-oro,nosuid,nodev,subtype=qstore");
	failed = failed || fuse_opt_add_arg(args, "-odefault_permissions");
	for (size_t i = 0; i < options->fuse.n_items && !failed; i++)
		failed = fuse_opt_add_arg(args, "-o") || fuse_opt_add_arg(args, options->fuse.items[i]);
	return !failed;
}

/* Serves the mounted archive until it is unmounted. */
static int serve(mount *m, struct fuse_session *session, const mount_options *options, unsigned n_threads)
{
	struct fuse_loop_config *config;
	/* libfuse's own messages go to standard error, which fuse_daemonize() closes. */
	if (fuse_daemonize(options->foreground) != 0)
		return CLI_FAILED;
	m->log.to_system = !options->foreground;
	m->ahead = read_ahead_create(m->archive, n_threads, (options->cache_mb << 20) / 2);
	config = fuse_loop_cfg_create();
	int failed = !m->ahead || !config || fuse_session_loop_mt(session, config) < 0;
	if (config)
		fuse_loop_cfg_destroy(config);
	read_ahead_destroy(m->ahead);
	return failed ? CLI_FAILED : CLI_OK;
}

static int mount_and_serve(mount *m, const mount_options *options, unsigned n_threads)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int code = CLI_FAILED;
	/* Once the folder is mounted, asking for it would wait for the session. */
	char *place = realpath(options->folder, NULL);
	struct fuse_session *session =
	    make_fuse_args(&args, options) ? fuse_session_new(&args, &operations, sizeof(operations), m) : NULL;
	if (session && fuse_set_signal_handlers(session) == 0) {
		/* The whole path, because the process leaves the current folder. */
		if (place && fuse_session_mount(session, place) == 0) {
			mount_widen_window(place);
			code = serve(m, session, options, n_threads);
			fuse_session_unmount(session);
		}
		fuse_remove_signal_handlers(session);
	}
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	free(place);
	return code;
}

/* Fails if files would be there that cannot be read: of a base that was not given, or behind the end of an
 * archive of which only the first part is there. variant: UINT32_MAX for all. */
static qstore_status check_complete(const qstore_archive *archive, const mount_options *options,
                                    uint32_t variant, qstore_error *error)
{
	qstore_archive_info info;
	qstore_variant_info chosen;
	qstore_get_info(archive, &info);
	for (uint32_t i = 0; i < info.n_files && !options->base; i++) {
		qstore_file_info file;
		qstore_get_file(archive, i, &file);
		if (strcmp(file.kind, "base") != 0)
			continue;
		error->status = QSTORE_NOT_FOUND;
		snprintf(error->text, sizeof(error->text),
		         "%.300s: is a difference to another model, its base: give it with --base", options->path);
		return QSTORE_NOT_FOUND;
	}
	if (variant == UINT32_MAX)
		return QSTORE_OK;
	qstore_get_variant(archive, variant, &chosen);
	if (info.file_size >= chosen.prefix_size)
		return QSTORE_OK;
	error->status = QSTORE_TRUNCATED;
	snprintf(error->text, sizeof(error->text),
	         "%.300s: ends too early: it has %llu of the %llu bytes that %s needs", options->path,
	         (unsigned long long)info.file_size, (unsigned long long)chosen.prefix_size, chosen.name);
	return QSTORE_TRUNCATED;
}

static qstore_status open_archive(mount *m, const mount_options *options, qstore_error *error)
{
	uint32_t variant = UINT32_MAX;
	qstore_status status = qstore_open(options->path, &m->archive, error);
	if (!status)
		status = cli_trust(m->archive, options->digest, options->base, error);
	if (!status && options->precision)
		status = qstore_find_variant(m->archive, options->precision, &variant, error);
	if (!status)
		status = check_complete(m->archive, options, variant, error);
	if (status)
		return status;
	qstore_set_cache(m->archive, (size_t)(options->cache_mb << 20));
	if (!tree_make(&m->tree, m->archive, variant)) {
		*error = (qstore_error){QSTORE_MEMORY, "out of memory"};
		return QSTORE_MEMORY;
	}
	return QSTORE_OK;
}

/* Reads the two arguments behind the options. 0: they are not there, which it has said. */
static int take_arguments(mount_options *options, int argc, char *const *argv)
{
	struct stat info;
	if (argc - optind != 2) {
		cli_usage("give an archive and a folder to mount it on");
		return 0;
	}
	options->path = argv[optind];
	options->folder = argv[optind + 1];
	if (stat(options->folder, &info) == 0 && S_ISDIR(info.st_mode))
		return 1;
	cli_usage("%s: not a folder; make it first", options->folder);
	return 0;
}

/* Is the word among the options, which have commas between them? */
static int has_option(const char *options, const char *word)
{
	size_t size = strlen(word);
	for (const char *p = options; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
		if (strncmp(p, word, size) == 0 && (p[size] == 0 || p[size] == ','))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	mount_options options = {.cache_mb = CACHE_DEFAULT_MB};
	cli_common common = {0};
	int option;
	char *end;
	cli_start(&tool);
	while ((option = cli_next_option(argc, argv, &common)) > 0) {
		switch (option) {
		case 'p':
			options.precision = optarg;
			break;
		case 'f':
			options.foreground = 1;
			break;
		case 'o':
			/* The kernel asks for as much as it wants, and nothing is written. */
			if (strncmp(optarg, "max_read=", 9) == 0 || strstr(optarg, ",max_read=") ||
			    has_option(optarg, "rw"))
				return cli_usage("-o %s: the mount is read-only, and takes no max_read", optarg);
			cli_list_add(&options.fuse, optarg);
			break;
		case OPTION_BASE:
			options.base = optarg;
			break;
		case OPTION_DIGEST:
			options.digest = optarg;
			break;
		case OPTION_CACHE:
			options.cache_mb = strtoull(optarg, &end, 10);
			if (*end || end == optarg || options.cache_mb < 1 || options.cache_mb > 1 << 20)
				return cli_usage("--cache %s: give a number of MB, at least 1", optarg);
			break;
		}
	}
	if (option == CLI_EXIT)
		return common.code;
	if (!take_arguments(&options, argc, argv))
		return CLI_USAGE;
	static mount m; /* its log is large */
	qstore_error error;
	mount_log_init(&m.log, tool.name);
	int code = CLI_FAILED;
	if (stat(options.path, &m.of_archive) != 0)
		m.of_archive = (struct stat){0}; /* opening says why */
	if (open_archive(&m, &options, &error)) {
		code = cli_fail(&error);
	} else {
		long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
		unsigned n_threads = common.threads ? common.threads : n_cores > 0 ? (unsigned)n_cores : 1;
		code = mount_and_serve(&m, &options, n_threads);
	}
	tree_free(&m.tree);
	qstore_close(m.archive);
	cli_list_free(&options.fuse);
	return code;
}
