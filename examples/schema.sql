-- The database of the examples. Run "claimpool db install" before it: the policy calls jwt().
CREATE TABLE invoice (
	id       int PRIMARY KEY,
	tenant   text NOT NULL DEFAULT jwt_required('tenant_id'),
	customer text NOT NULL,
	amount   numeric(10, 2) NOT NULL,
	paid     boolean NOT NULL DEFAULT false
);
INSERT INTO invoice (id, tenant, customer, amount) VALUES
	(1, 'acme', 'Coyote', 99.50),
	(2, 'acme', 'Runner', 120.00),
	(3, 'globex', 'Scorpio', 7500.00),
	(4, 'globex', 'Simpson', 18.75);

ALTER TABLE invoice ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON invoice USING (tenant = (SELECT jwt('tenant_id')));
