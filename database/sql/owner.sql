-- The owner of everything here: cannot log in, is not a superuser, and no role of a pool is a member of it.
CREATE ROLE claimpool_owner NOLOGIN NOINHERIT;
COMMENT ON ROLE claimpool_owner IS 'owns claimpool''s keys and functions; must not have members';
