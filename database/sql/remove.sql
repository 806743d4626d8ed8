-- Without CASCADE: what still uses jwt(), such as a policy, stops the removal and is named by the error.
DROP FUNCTION :"api".jwt_required(text);
DROP FUNCTION :"api".jwt(text);
DROP FUNCTION :"api".jwt();
DROP FUNCTION claimpool.add_key(text);
DROP FUNCTION claimpool.missing(text);
DROP FUNCTION claimpool.jwt();
DROP FUNCTION claimpool.greeting();
DROP FUNCTION claimpool.binding();
DROP TABLE claimpool.keys;
DROP TABLE claimpool.version;
DROP SCHEMA claimpool;
