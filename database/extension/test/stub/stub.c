/*
 * stub.c
 *		A library that exports one function of another extension, so that the
 *		reset can be tested where that extension is not installed.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(NAME);
Datum
NAME(PG_FUNCTION_ARGS)
{
	elog(NOTICE, "stub called");
	PG_RETURN_BOOL(true);
}
