/*
 * answers.c
 *		Answers of a hand-over, held back for the answer of the request behind it;
 *		and who is told of errors.
 *
 * PostgreSQL sends each ReadyForQuery at once.  Where the client's request waits
 * behind switch() already, that is one system call too many here, and makes the
 * proxy wake up for nothing: the answers go out together.
 */
#include "claimpool.h"

#include "access/xact.h"

#undef ENABLE_GSS				/* its headers are not needed, and not always there */
#include "libpq/libpq.h"

#if PG_VERSION_NUM >= 170000
#define pq_buffer_has_data() (pq_buffer_remaining_data() > 0)
#endif

static const PQcommMethods *socket_methods = NULL;	/* PostgreSQL's own */
static PQcommMethods watching;
static const PQcommMethods *methods = NULL; /* that are in force but while answers are held */
static PQcommMethods holding;
static int	held;				/* answers still to hold back */

/*
 * PostgreSQL calls it first of all when an error has reached the top.  Outside of
 * a transaction nobody else tells of one, unless it is logged.
 */
static void
error_at_top(void)
{
	if (!IsTransactionState())
		cp_context_failed();
	socket_methods->comm_reset();
}

/* Before a context can be there. */
void
cp_answers_init(void)
{
	if (socket_methods != NULL)
		return;
	socket_methods = PqCommMethods;
	watching = *socket_methods;
	watching.comm_reset = error_at_top;
	PqCommMethods = &watching;
}

/*
 * In place of pq_flush().  Nothing is held back unless more has arrived, whose
 * answer will take it along.  An error that is sent in between counts as an
 * answer: then the next one goes out a little earlier.
 */
static int
flush_later(void)
{
	bool		more = pq_buffer_has_data();

	if (!more || --held == 0)
		PqCommMethods = methods;
	return more ? 0 : methods->flush();
}

/*
 * Holds back the next answers, as many as the proxy has said.  It has sent only
 * what it knows to be whole, so nobody waits for an answer that is held.
 */
void
cp_answers_hold(int answers)
{
	if (PqCommMethods != &holding)
	{
		methods = PqCommMethods;
		holding = *methods;
		holding.flush = flush_later;
	}
	held = answers;
	PqCommMethods = &holding;
}
