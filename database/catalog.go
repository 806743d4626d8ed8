package database

// The questions that we ask the catalogs. They run behind pinPath, so plain names mean PostgreSQL's own.

const (
	pinPath     = "SET LOCAL search_path = pg_catalog, pg_temp;"
	joinOwner   = "GRANT claimpool_owner TO CURRENT_USER;"
	leaveOwner  = "REVOKE claimpool_owner FROM CURRENT_USER;"
	becomeOwner = "SET LOCAL ROLE claimpool_owner;"
)

// aboutUs also tells whether what stands under our names is ours: whoever may create schemas could have put a view there that
// runs his function as the superuser who looks.
const aboutUs = `
select current_database(), current_setting('server_version'), current_user::text, r.rolsuper, o.oid is not null,
       coalesce(o.rolcanlogin or o.rolsuper, false),
       to_regnamespace('claimpool') is not null,
       coalesce((select nspowner from pg_namespace where nspname = 'claimpool') = o.oid
                and 2 = (select count(*) from pg_class where relnamespace = to_regnamespace('claimpool')
                         and relname in ('version', 'keys') and relkind = 'r' and relowner = o.oid), false),
       coalesce(pg_has_role(current_user, o.oid,
                case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end), false),
       exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass and d.refobjid = o.oid
               and d.dbid <> (select oid from pg_database where datname = current_database()))
from pg_roles r left join pg_roles o on o.rolname = 'claimpool_owner'
where r.rolname = current_user`

// given comes before each question: the roles of the pools, the schema of jwt(), and the object ids of what is ours.
const given = `
with given (roles, api) as (select $1::text[], $2::name),
     ours (owner, schema) as (select o.oid, n.oid from pg_roles o, pg_namespace n where o.rolname = 'claimpool_owner' and n.nspname = 'claimpool'),
     pool as (select r.* from pg_roles r, given where r.rolname::text = any (roles))
`

// questions find what makes an installation unsafe: each row is one problem, told in words.
var questions = []string{
	// The owner must be out of everybody's reach.
	`select 'role claimpool_owner may log in' from pg_roles, ours where oid = owner and rolcanlogin`,
	`select 'role claimpool_owner is a superuser' from pg_roles, ours where oid = owner and rolsuper`,
	`select format('role %I may become claimpool_owner, and so read the keys', rolname) from pool, ours where not rolsuper and pg_has_role(oid, owner, 'member')`,
	`select format('role %I is a superuser: neither policies nor keys are closed to it', rolname) from pool where rolsuper`,
	`select format('role %I has BYPASSRLS: no policy applies to it', rolname) from pool where rolbypassrls and not rolsuper`,
	`select format('role %I may read every table, and so the keys (pg_read_all_data)', rolname) from pool where not rolsuper and pg_has_role(oid, 'pg_read_all_data', 'usage')`,
	`select format('role %I has CREATEROLE: it may become other roles', rolname) from pool where rolcreaterole and not rolsuper`,

	// Our objects must be the owner's and closed.
	`select format('%s does not belong to claimpool_owner', what) from ours, lateral (
		select 'schema claimpool', nspowner from pg_namespace where oid = schema
		union all select format('table claimpool.%I', relname), relowner from pg_class where relnamespace = schema and relkind = 'r'
		union all select 'function ' || p.oid::regprocedure, proowner from pg_proc p where pronamespace = schema
	) o (what, whose) where whose <> owner`,
	`select format('%s on claimpool.%I is granted to %s', a.privilege_type, relname, case grantee when 0 then 'PUBLIC' else grantee::regrole::text end)
	from ours, pg_class, aclexplode(relacl) a where relnamespace = schema and grantee <> owner`,
	`select 'CREATE on schema claimpool is granted to ' || case grantee when 0 then 'PUBLIC' else grantee::regrole::text end
	from ours, pg_namespace n, aclexplode(nspacl) a where n.oid = schema and a.privilege_type = 'CREATE' and grantee <> owner`,
	`select 'claimpool.add_key may be called by ' || case grantee when 0 then 'PUBLIC' else grantee::regrole::text end
	from ours, pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
	where pronamespace = schema and proname = 'add_key' and grantee <> owner`,

	// Who may create beside jwt() may plant another jwt() for ad-hoc queries; until PostgreSQL 14 everybody may, in public.
	`select format('everybody may create functions beside jwt(): REVOKE CREATE ON SCHEMA %I FROM PUBLIC', nspname)
	from given, pg_namespace n, aclexplode(nspacl) a where nspname = api and a.privilege_type = 'CREATE' and grantee = 0`,
}
