/*
 * read.c
 *		What policies call: jwt() and its typed relatives.
 *
 * All are STABLE and PARALLEL SAFE, and but for jwt_required() STRICT.  A claim that has the wrong type is
 * an error that names the claim and not its value: values stay out of logs.
 */
#include "claimpool.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* The value of a top-level claim; false where there is none. */
static bool
find_claim(const text *name, JsonbValue *value)
{
	Jsonb	   *claims = cp_context_claims();

	return claims != NULL && JB_ROOT_IS_OBJECT(claims) &&
		getKeyJsonValueFromContainer(&claims->root, VARDATA_ANY(name),
									 VARSIZE_ANY_EXHDR(name), value) != NULL;
}

/* As the operator ->> writes it: NULL for JSON's null, strings unquoted. */
static text *
value_to_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvBool:
			return cstring_to_text(value->val.boolean ? "true" : "false");
		case jbvString:
			return cstring_to_text_with_len(value->val.string.val,
											value->val.string.len);
		case jbvNumeric:
			return cstring_to_text(DatumGetCString(DirectFunctionCall1(numeric_out,
																	   NumericGetDatum(value->val.numeric))));
		case jbvBinary:
			return cstring_to_text(JsonbToCString(NULL, value->val.binary.data,
												  value->val.binary.len));
		default:
			elog(ERROR, "unexpected type of claim: %d", (int) value->type);
			return NULL;
	}
}

static text *
find_text(const text *name)
{
	JsonbValue	value;

	return find_claim(name, &value) ? value_to_text(&value) : NULL;
}

/* jwt() returns jsonb: all claims. */
PG_FUNCTION_INFO_V1(claimpool_jwt);
Datum
claimpool_jwt(PG_FUNCTION_ARGS)
{
	Jsonb	   *claims = cp_context_claims();

	if (claims == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(PG_DETOAST_DATUM_COPY(JsonbPGetDatum(claims)));
}

/* jwt(text) returns text: one claim, NULL where it or the context is absent. */
PG_FUNCTION_INFO_V1(claimpool_jwt_text);
Datum
claimpool_jwt_text(PG_FUNCTION_ARGS)
{
	text	   *value = find_text(PG_GETARG_TEXT_PP(0));

	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(value);
}

/* jwt_required(text) returns text: one claim, or an error. */
PG_FUNCTION_INFO_V1(claimpool_jwt_required);
Datum
claimpool_jwt_required(PG_FUNCTION_ARGS)
{
	text	   *name = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	text	   *value = name ? find_text(name) : NULL;

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("claim \"%s\" is required", name ? text_to_cstring(name) : "NULL"),
				 errdetail(cp_context_claims() == NULL
						   ? "No trusted context is installed."
						   : "The trusted context does not have it.")));
	PG_RETURN_TEXT_P(value);
}

/* jwt_path(VARIADIC text[]) returns text: a claim inside objects and arrays. */
PG_FUNCTION_INFO_V1(claimpool_jwt_path);
Datum
claimpool_jwt_path(PG_FUNCTION_ARGS)
{
	Jsonb	   *claims = cp_context_claims();
	LOCAL_FCINFO(path, 2);
	Datum		value;

	if (claims == NULL)
		PG_RETURN_NULL();
	InitFunctionCallInfoData(*path, NULL, 2, InvalidOid, NULL, NULL);
	path->args[0].value = JsonbPGetDatum(claims);
	path->args[0].isnull = false;
	path->args[1].value = PG_GETARG_DATUM(0);
	path->args[1].isnull = false;
	value = jsonb_extract_path_text(path);
	if (path->isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(value);
}

/*
 * Reads text by a type's input function.  Its own message would quote the value,
 * so it is replaced.  The input functions used here have no effects, which is
 * what makes it right to catch their errors without a subtransaction.
 */
static Datum
input(PGFunction function, text *value, text *name, const char *type)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;
	volatile bool failed = false;
	char	   *string = text_to_cstring(value);

	PG_TRY();
	{
		result = DirectFunctionCall3(function, CStringGetDatum(string),
									 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		failed = true;
	}
	PG_END_TRY();

	if (failed)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("claim \"%s\" is not of type %s", text_to_cstring(name), type)));
	return result;
}

#define TYPED_READER(c_name, function, type) \
PG_FUNCTION_INFO_V1(c_name); \
Datum \
c_name(PG_FUNCTION_ARGS) \
{ \
	text	   *name = PG_GETARG_TEXT_PP(0); \
	text	   *value = find_text(name); \
\
	if (value == NULL) \
		PG_RETURN_NULL(); \
	PG_RETURN_DATUM(input(function, value, name, type)); \
} \
extern int	no_such_variable

TYPED_READER(claimpool_jwt_int8, int8in, "bigint");
TYPED_READER(claimpool_jwt_uuid, uuid_in, "uuid");
TYPED_READER(claimpool_jwt_boolean, boolin, "boolean");
TYPED_READER(claimpool_jwt_numeric, numeric_in, "numeric");

/* A NumericDate, in the form of an input function. */
static Datum
numeric_date_in(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(float8_timestamptz,
							   DirectFunctionCall1(float8in, PG_GETARG_DATUM(0)));
}

/*
 * jwt_timestamptz(text): a number is a NumericDate, seconds since 1970 (RFC
 * 7519, section 2); a string is read as PostgreSQL reads it.
 */
PG_FUNCTION_INFO_V1(claimpool_jwt_timestamptz);
Datum
claimpool_jwt_timestamptz(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	JsonbValue	value;
	text	   *string;

	if (!find_claim(name, &value) || (string = value_to_text(&value)) == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(input(value.type == jbvNumeric ? numeric_date_in : timestamptz_in,
						  string, name, "timestamp with time zone"));
}

/*
 * jwt_text_array(text) returns text[]: an array claim, element by element.  One
 * value is taken as an array of one, as "aud" may be written (RFC 7519, section
 * 4.1.3).
 */
PG_FUNCTION_INFO_V1(claimpool_jwt_text_array);
Datum
claimpool_jwt_text_array(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	ArrayBuildState *elements = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	text	   *element;

	if (!find_claim(PG_GETARG_TEXT_PP(0), &value) || value.type == jbvNull)
		PG_RETURN_NULL();
	if (value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
	{
		element = value_to_text(&value);
		elements = accumArrayResult(elements, PointerGetDatum(element), false,
									TEXTOID, CurrentMemoryContext);
	}
	else
	{
		JsonbIterator *it = JsonbIteratorInit(value.val.binary.data);
		JsonbValue	item;
		JsonbIteratorToken token;

		while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			element = value_to_text(&item);
			elements = accumArrayResult(elements, PointerGetDatum(element),
										element == NULL, TEXTOID, CurrentMemoryContext);
		}
	}
	PG_RETURN_DATUM(makeArrayResult(elements, CurrentMemoryContext));
}

/*
 * jwt_has(claim, value) returns boolean: is the string in this array claim, or
 * the claim itself?  False, never NULL, where the claim or the context is
 * absent: a policy must not turn NULL into a yes.
 */
PG_FUNCTION_INFO_V1(claimpool_jwt_has);
Datum
claimpool_jwt_has(PG_FUNCTION_ARGS)
{
	text	   *wanted = PG_GETARG_TEXT_PP(1);
	JsonbValue	value;
	JsonbValue	string;

	if (!find_claim(PG_GETARG_TEXT_PP(0), &value))
		PG_RETURN_BOOL(false);
	string.type = jbvString;
	string.val.string.val = VARDATA_ANY(wanted);
	string.val.string.len = VARSIZE_ANY_EXHDR(wanted);
	if (value.type == jbvString)
		PG_RETURN_BOOL(value.val.string.len == string.val.string.len &&
					   memcmp(value.val.string.val, string.val.string.val,
							  string.val.string.len) == 0);
	if (value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(findJsonbValueFromContainer(value.val.binary.data,
											   JB_FARRAY, &string) != NULL);
}
