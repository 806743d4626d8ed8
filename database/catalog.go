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
               and d.dbid <> (select oid from pg_database where datname = current_database())),
       coalesce((select extversion from pg_extension where extname = 'claimpool'), ''),
       coalesce((select nspname::text from pg_extension join pg_namespace n on n.oid = extnamespace where extname = 'claimpool'), '')
from pg_roles r left join pg_roles o on o.rolname = 'claimpool_owner'
where r.rolname = current_user`

// aboutSchema finds a schema of packs, its owner, and the functions in it that are claimpool_owner's.
const aboutSchema = `
select pg_get_userbyid(nspowner)::text, array(select nspname || '.' || proname from pg_proc
       where pronamespace = n.oid and pg_get_userbyid(proowner) = 'claimpool_owner')
from pg_namespace n where nspname = $1`

// given comes before each question: the roles of the pools, the schema of jwt(), the object ids of what is ours, and which of
// request.jwt.* everybody may set: under the extension's claimpool.request_claims all but request.jwt.claims, and but the older names that
// Supabase's functions look at.
const given = `
with given (roles, api) as (select $1::text[], $2::name),
     ours (owner, schema) as (select o.oid, n.oid from pg_roles o, pg_namespace n where o.rolname = 'claimpool_owner' and n.nspname = 'claimpool'),
     pool as (select r.* from pg_roles r, given where r.rolname::text = any (roles)),
     settable (rest) as (select case when exists (select from pg_settings where name = 'claimpool.request_claims' and setting = 'on'
         and context = 'postmaster') then '(?!claim(s|\.sub|\.role|\.email)?'')' else '' end)
`

// everywhere is asked in both dialects. Each row of each answer is one problem, told in words.
var everywhere = []string{
	// The owner must be out of everybody's reach.
	`select 'role claimpool_owner may log in' from pg_roles, ours where oid = owner and rolcanlogin`,
	`select 'role claimpool_owner is a superuser' from pg_roles, ours where oid = owner and rolsuper`,
	`select format('role %I may become claimpool_owner, and so change what policies call', rolname) from pool, ours where not rolsuper and pg_has_role(oid, owner, 'member')`,
	`select format('role %I is a superuser: neither policies nor keys are closed to it', rolname) from pool where rolsuper`,
	`select format('role %I has BYPASSRLS: no policy applies to it', rolname) from pool where rolbypassrls and not rolsuper`,
	`select format('role %I has CREATEROLE: it may become other roles', rolname) from pool where rolcreaterole and not rolsuper`,

	`select format('role %I may read every table, and so the keys (pg_read_all_data)', rolname) from pool
	where not rolsuper and pg_has_role(oid, 'pg_read_all_data', 'usage')
	and exists (select from pg_class where relkind = 'r' and pg_get_userbyid(relowner) = 'claimpool_owner')`,

	// What the packs vault and ticket keep is for their functions alone, and whoever may call the wrong ones is whoever he wants.
	`select format('%s on %s is granted to %s', a.privilege_type, c.oid::regclass, case grantee when 0 then 'PUBLIC' else grantee::regrole::text end)
	from pg_namespace n join pg_class c on relnamespace = n.oid, aclexplode(relacl) a
	where nspname in ('claimpool_vault', 'claimpool_ticket', 'claimpool_revocation', 'claimpool_audit') and pg_get_userbyid(nspowner) = 'claimpool_owner' and grantee <> relowner
	and not (nspname = 'claimpool_audit' and a.privilege_type = 'SELECT' and pg_get_userbyid(a.grantee) = 'claimpool_auditor')`,
	`select format('role %I may call %s: its clients could sign others out, and see who was', rolname, p.oid::regprocedure)
	from pool, pg_namespace n join pg_proc p on pronamespace = n.oid
	where nspname = 'claimpool_revocation' and pg_get_userbyid(nspowner) = 'claimpool_owner'
	and not rolsuper and has_function_privilege(pool.oid, p.oid, 'execute') order by 1`,
	`select 'role claimpool_revocation may log in or is a superuser: give it members in place of that' from pg_roles
	where rolname = 'claimpool_revocation' and (rolcanlogin or rolsuper)`,
	`select format('%s (%s) on %s is granted to %s', a.privilege_type, attname, c.oid::regclass, case a.grantee when 0 then 'PUBLIC' else a.grantee::regrole::text end)
	from pg_namespace n join pg_class c on relnamespace = n.oid join pg_attribute on attrelid = c.oid, aclexplode(attacl) a
	where nspname = 'claimpool_audit' and pg_get_userbyid(nspowner) = 'claimpool_owner' and a.grantee <> relowner
	and not (a.privilege_type = 'INSERT' and pg_get_userbyid(a.grantee) = 'claimpool_audit') order by 1`,
	`select format('role %I is a member of %s: its clients could %s audit records', pool.rolname, r.rolname,
		case r.rolname when 'claimpool_audit' then 'make up' else 'read' end)
	from pool, pg_roles r where r.rolname in ('claimpool_audit', 'claimpool_auditor') and not pool.rolsuper and pg_has_role(pool.oid, r.oid, 'member') order by 1`,
	`select format('role %I may call %s: its clients could take audit records away', rolname, p.oid::regprocedure)
	from pool, pg_namespace n join pg_proc p on pronamespace = n.oid
	where nspname = 'claimpool_audit' and pg_get_userbyid(nspowner) = 'claimpool_owner'
	and not rolsuper and has_function_privilege(pool.oid, p.oid, 'execute') order by 1`,
	`select format('role %I may log in or is a superuser: give it members in place of that', rolname) from pg_roles
	where rolname in ('claimpool_audit', 'claimpool_auditor') and (rolcanlogin or rolsuper)`,
	`select format('role %I may call %s, and so become anybody', rolname, p.oid::regprocedure) from pool, pg_namespace n join pg_proc p on pronamespace = n.oid
	where nspname in ('claimpool_vault', 'claimpool_ticket') and pg_get_userbyid(nspowner) = 'claimpool_owner'
	and proname in ('open', 'set_account', 'put', 'sign', 'mac') and not rolsuper and has_function_privilege(pool.oid, p.oid, 'execute')
	order by 1`,
	`select format('role %I may call %s, and so read the stored passwords of others', rolname, p.oid::regprocedure) from pool, pg_namespace n join pg_proc p on pronamespace = n.oid
	where nspname = 'claimpool_lookup' and pg_get_userbyid(nspowner) = 'claimpool_owner' and not rolsuper and has_function_privilege(pool.oid, p.oid, 'execute')
	order by 1`,

	// What a client of a pool may plant with ALTER ROLE CURRENT_USER SET, all that needs no superuser; and names that nobody
	// has declared. The proxy pins what could change an answer; the rest is the administrator's to know of.
	`select format('role %I begins its connections with %s of its own: ALTER ROLE %I%s RESET %s', rolname, name, rolname,
		coalesce(' IN DATABASE ' || quote_ident(datname), ''), case when name ~ '^[A-Za-z_.]+$' then name else quote_ident(name) end)
	from pool join pg_db_role_setting on setrole = pool.oid left join pg_database d on d.oid = setdatabase,
		unnest(setconfig) entry, lateral split_part(entry, '=', 1) name
	where name not in ('claimpool.gate', 'claimpool.sandbox')
		and not exists (select from pg_settings p where p.name = name.name and context not in ('user', 'backend')) order by 1`,

	// The schemas of packs are looked at only where they are ours.
	`select format('function %s does not belong to claimpool_owner', p.oid::regprocedure) from ours, pg_namespace n, pg_proc p
	where nspname in ('auth', 'request', 'claimpool_vault', 'claimpool_ticket', 'claimpool_lookup', 'claimpool_revocation', 'claimpool_audit') and nspowner = owner and pronamespace = n.oid and proowner <> owner`,
	`select format('CREATE on schema %I is granted to %s', nspname, case grantee when 0 then 'PUBLIC' else grantee::regrole::text end)
	from ours, pg_namespace n, aclexplode(nspacl) a
	where nspname in ('auth', 'request', 'claimpool_vault', 'claimpool_ticket', 'claimpool_lookup', 'claimpool_revocation', 'claimpool_audit') and nspowner = owner and a.privilege_type = 'CREATE' and grantee <> owner`,

	// Every client may set request.jwt.claims, unless the extension says otherwise: who decides by it lets everybody choose who he is.
	`select format('policy %I on %s reads request.jwt.*, which every client may set: use jwt(), or request.setting() of the pack postgrest',
		polname, polrelid::regclass) from pg_policy, settable
	where concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)) ~* ('current_setting\(.?request\.jwt\.' || rest)
	order by 1`,
	`select format('function %s reads request.jwt.*, which every client may set: no policy may rely on it', oid::regprocedure) from pg_proc, settable
	where prokind in ('f', 'p') and pronamespace <> 'pg_catalog'::regnamespace
	and coalesce(pg_get_function_sqlbody(oid), prosrc) ~* ('current_setting\s*\(\s*.?request\.jwt\.' || rest) order by 1`,

	// PostgreSQL calls an IMMUTABLE function when it plans, and a plan outlives an identity.
	`select format('function %s reads claims and is IMMUTABLE: a plan may keep the answer that it gave to somebody else; declare it STABLE', oid::regprocedure)
	from pg_proc where prokind = 'f' and provolatile = 'i' and pronamespace <> 'pg_catalog'::regnamespace
	and coalesce(pg_get_function_sqlbody(oid), prosrc) ~* '\m(jwt|jwt_required|auth\.uid|auth\.jwt)\s*\(' order by 1`,

	// jwt() is NULL without a context, and then "=" is not true.
	`select format('policy %I on %s may be true where there is no claim (%s): compare by =, or read the claim with jwt_required()', polname, polrelid::regclass, how)
	from pg_policy, concat(pg_get_expr(polqual, polrelid), ' ', pg_get_expr(polwithcheck, polrelid)) expr, (values
		('COALESCE', 'COALESCE\([^,]*\mjwt\('), ('IS NULL', '\mjwt\([^)]*\)( AS jwt)?\)? IS NULL'),
		('IS NOT DISTINCT FROM', 'NOT \([^()]* IS DISTINCT FROM [( ]*(SELECT )?([[:alnum:]_]+\.)?jwt\('), ('IS NOT DISTINCT FROM', 'NOT \([( ]*(SELECT )?([[:alnum:]_]+\.)?jwt\([^)]*\)( AS jwt)?\)? IS DISTINCT FROM')
	) test (how, pattern) where expr ~ pattern group by polname, polrelid, how order by 1`,
}

// ofTheSQL is asked where the SQL dialect is installed.
var ofTheSQL = []string{
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
