CREATE SCHEMA claimpool AUTHORIZATION claimpool_owner;
COMMENT ON SCHEMA claimpool IS 'the trusted context of claimpool, SQL dialect';
