#include <qstore.h>
#include "status.h"

/* The public header spells the list out, for its readers; it cannot differ. */
#define QS_STATUS_ASSERT(name, value, message) _Static_assert(QSTORE_##name == (value), "qstore.h: " #name);
QS_STATUS_LIST(QS_STATUS_ASSERT)
#undef QS_STATUS_ASSERT

const char *qstore_status_message(qstore_status status)
{
	switch (status) {
#define QS_STATUS_CASE(name, value, message)                                                                 \
	case QSTORE_##name:                                                                                      \
		return message;
		QS_STATUS_LIST(QS_STATUS_CASE)
#undef QS_STATUS_CASE
	}
	return "unknown status";
}
