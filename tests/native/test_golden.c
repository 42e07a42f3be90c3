/* Golden archives (tests/golden/make): good ones open and hold together, each bad one fails with the status
 * that is expected, and with one line that names the file. */
#include "codec_help.h"

#include <dirent.h>
#include <ftw.h>
#include <unistd.h>

#include <qstore.h>

#include "text.h"

static void golden_path(char *path, size_t size, const char *kind, const char *name)
{
	const char *folder = getenv("QSTORE_GOLDEN") ? getenv("QSTORE_GOLDEN") : "tests/golden";
	snprintf(path, size, "%s/%s/%s", folder, kind, name);
}

static int remove_entry(const char *path, const struct stat *s, int type, struct FTW *where)
{
	(void)s;
	(void)type;
	(void)where;
	return remove(path);
}

/* Opens, checks and restores all of an archive; *opened tells how far it got. base: or NULL. */
static qstore_status use(const char *path, const char *base, int *opened, qstore_error *error)
{
	qstore_archive *archive = NULL;
	char folder[] = "/tmp/qstore-golden-XXXXXX";
	qstore_status status = qstore_open(path, &archive, error);
	*opened = !status;
	if (!status && base)
		status = qstore_set_base(archive, base, error);
	if (status) {
		qstore_close(archive);
		return status;
	}
	assert_non_null(mkdtemp(folder));
	qstore_work work = {.threads = 2};
	qstore_unpack_options options = {.precision = "all", .output = folder, .force = 1, .work = work};
	status = qstore_verify(archive, &work, error);
	if (status) {
		/* Unpacking checks less than qstore_verify. Where it fails too, it leaves nothing in the folder. */
		if (qstore_unpack(archive, &options, NULL, NULL))
			assert_int_equal(rmdir(folder), 0);
	} else {
		status = qstore_unpack(archive, &options, NULL, error);
	}
	nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	qstore_close(archive);
	return status;
}

static void test_good(void **state)
{
	(void)state;
	char path[4096], base[4096];
	unsigned n = 0;
	golden_path(path, sizeof path, "good", "");
	DIR *folder = opendir(path);
	if (!folder)
		fail_msg("%s: no such folder; run from the checkout's root", path);
	for (struct dirent *entry; (entry = readdir(folder));) {
		const char *dot = strrchr(entry->d_name, '.');
		qstore_error error = {0};
		int opened;
		if (!dot || strcmp(dot, ".qstore") != 0)
			continue;
		golden_path(path, sizeof path, "good", entry->d_name);
		/* NAME.on-BASE.qstore is a difference to BASE.qstore. */
		const char *on = strstr(entry->d_name, ".on-");
		if (on)
			golden_path(base, sizeof base, "good", on + 4);
		if (use(path, on ? base : NULL, &opened, &error))
			fail_msg("%s", error.text);
		n++;
	}
	closedir(folder);
	assert_true(n >= 6);
}

static qstore_status status_by_name(const char *name)
{
	static const struct {
		const char *name;
		qstore_status status;
	} known[] = {
	    {"NOT_QSTORE", QSTORE_NOT_QSTORE}, {"NEWER", QSTORE_NEWER}, {"TRUNCATED", QSTORE_TRUNCATED},
	    {"CORRUPT", QSTORE_CORRUPT},       {"LIMIT", QSTORE_LIMIT}, {"OLDER", QSTORE_OLDER},
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (!strcmp(name, known[i].name))
			return known[i].status;
	fail_msg("bad/expected names the unknown status %s", name);
	return QSTORE_OK;
}

static void test_bad(void **state)
{
	(void)state;
	char path[4096], name[64], status_name[32], when[16];
	unsigned n = 0, wrong = 0;
	golden_path(path, sizeof path, "bad", "expected");
	FILE *list = fopen(path, "r");
	if (!list)
		fail_msg("%s: no such file; run from the checkout's root", path);
	while (fscanf(list, "%50s %31s %15s", name, status_name, when) == 3) {
		qstore_error error = {0};
		int opened;
		qs_text_add(name, sizeof name, "", ".qstore");
		golden_path(path, sizeof path, "bad", name);
		qstore_status status = use(path, NULL, &opened, &error);
		if (status != status_by_name(status_name) || opened != !!strcmp(when, "open") ||
		    error.status != status || !strstr(error.text, name) || strchr(error.text, '\n')) {
			print_error("%s: status %d, %s: \"%s\"\n", name, status, opened ? "opened" : "not opened",
			            error.text);
			wrong++;
		}
		n++;
	}
	fclose(list);
	assert_int_equal(wrong, 0);
	assert_true(n >= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
