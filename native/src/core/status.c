#include "status.h"

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
