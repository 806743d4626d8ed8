-- Pays the small invoices and lists all of them. The policy adds "of this tenant" to both statements.
BEGIN;
UPDATE invoice SET paid = true WHERE amount < :limit;
SELECT 'tenant', jwt('tenant_id');
SELECT id, customer, amount, CASE WHEN paid THEN 'paid' ELSE 'open' END FROM invoice ORDER BY id;
COMMIT;
