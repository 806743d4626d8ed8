CREATE TABLE invoice (
	id        int PRIMARY KEY,
	tenant_id text NOT NULL,
	customer  text NOT NULL,
	amount    numeric(10, 2) NOT NULL
);
INSERT INTO invoice VALUES
	(1, 'acme',   'Coyote, W.',  99.50),
	(2, 'acme',   'Runner, R.', 120.00),
	(3, 'globex', 'Scorpio, H.', 7500.00),
	(4, 'globex', 'Simpson, H.',  18.75),
	(5, 'globex', 'Smithers, W.', 640.00);

ALTER TABLE invoice ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON invoice USING (tenant_id = (SELECT jwt('tenant_id')));
GRANT SELECT, INSERT, UPDATE, DELETE ON invoice TO demo_role;
