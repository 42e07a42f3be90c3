// Packs a model, restores its coarsest variant from the archive, and says how far it is while it works.
//
//     c++ roundtrip.cpp $(pkg-config --cflags --libs qstore) -o roundtrip
//     ./roundtrip model/ model.qstore restored/
#include <qstore.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

struct Closer {
	void operator()(qstore_archive *archive) const { qstore_close(archive); }
};
using Archive = std::unique_ptr<qstore_archive, Closer>;

void check(qstore_status status, const qstore_error &error)
{
	if (status != QSTORE_OK)
		throw std::runtime_error(error.text);
}

Archive open(const std::string &path)
{
	qstore_archive *archive = nullptr;
	qstore_error error;
	check(qstore_open(path.c_str(), &archive, &error), error);
	return Archive(archive);
}

void show(void *, const qstore_progress *progress)
{
	if (progress->done == progress->total)
		std::printf("%s: %llu bytes\n", progress->phase, static_cast<unsigned long long>(progress->total));
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 4) {
		std::fprintf(stderr, "usage: roundtrip MODEL FILE.qstore DIR\n");
		return 2;
	}
	try {
		qstore_error error;
		qstore_pack_options pack = {};
		pack.struct_size = sizeof(pack);
		pack.high = argv[1];
		pack.output = argv[2];
		pack.work.on_progress = show;
		check(qstore_pack(&pack, nullptr, &error), error);

		Archive archive = open(argv[2]);
		qstore_unpack_options unpack = {};
		unpack.struct_size = sizeof(unpack);
		unpack.precision = "low";
		unpack.output = argv[3];
		unpack.work.on_progress = show;
		check(qstore_unpack(archive.get(), &unpack, nullptr, &error), error);
	} catch (const std::exception &error) {
		std::fprintf(stderr, "roundtrip: %s\n", error.what());
		return 1;
	}
	return 0;
}
