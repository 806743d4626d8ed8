-- a context that a token gives, as policies see it
CREATE TABLE accounts (tenant text, amount int);
INSERT INTO accounts VALUES ('a', 1), ('a', 2), ('b', 4);
ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenants ON accounts USING (tenant = (SELECT jwt('tenant')));
CREATE ROLE regress_claimpool_user;
GRANT ALL ON accounts TO regress_claimpool_user;
SELECT jwt_generate_secret('HS256') AS secret \gset
SELECT jwt_sign('HS256', :'secret', '{"alg": "HS256"}', '{"tenant": "a", "exp": 4102444800}') AS a \gset
SELECT jwt_sign('HS256', :'secret', '{"alg": "HS256"}', '{"tenant": "b", "exp": 4102444800}') AS b \gset
SELECT jwt_sign('HS256', :'secret', '{"alg": "HS256"}', '{"tenant": "a", "exp": 123456789}') AS expired \gset
SET jwt.context = :'a';
SET jwt.secret = :'secret';
SET ROLE regress_claimpool_user;
SELECT sum(amount) FROM accounts;
SET jwt.context = :'a';
SHOW jwt.context;
SELECT sum(amount) FROM accounts;
INSERT INTO accounts VALUES ('b', 8);
-- settings come and go as settings do
BEGIN;
SET LOCAL jwt.context = :'b';
SELECT sum(amount) FROM accounts;
SAVEPOINT s;
RESET jwt.context;
SELECT sum(amount) FROM accounts;
ROLLBACK TO s;
SELECT sum(amount) FROM accounts;
COMMIT;
SELECT sum(amount) FROM accounts;
SET jwt.context = :'expired';
SELECT sum(amount) FROM accounts;
DISCARD ALL;
-- the secret is nobody's but the superuser's
RESET SESSION AUTHORIZATION;
SET jwt.secret = :'secret';
SELECT setting = :'secret' AS shown, reset_val, boot_val FROM pg_settings WHERE name = 'jwt.secret';
SET ROLE regress_claimpool_user;
SELECT setting, reset_val, boot_val FROM pg_settings WHERE name = 'jwt.secret';
SHOW jwt.secret;
SET jwt.secret = '';
RESET jwt.secret;
SET jwt.pubkey = '';
SET jwt.issuer = 'x';
SELECT jwt_unseal();
RESET ROLE;
ALTER ROLE regress_claimpool_user SET jwt.secret = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
ALTER ROLE regress_claimpool_user SET jwt.context = 'x.y.z';
SET jwt.secret = 'AAAA';
SET jwt.pubkey = 'AAAA';
DROP TABLE accounts;
DROP ROLE regress_claimpool_user;
