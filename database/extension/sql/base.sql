-- what there is without any context
CREATE EXTENSION claimpool;
SELECT jwt();
SELECT jwt('id'), jwt(NULL), jwt_int8('id'), jwt_path('a', 'b'), jwt_text_array('id');
SELECT jwt_has('roles', 'admin');
SELECT jwt_required('id');
SHOW jwt.context;
-- generating keys and secrets
SELECT length(private_raw) > 100, private_pem LIKE '-----BEGIN PRIVATE KEY-----%',
       length(public_raw), public_pem LIKE '-----BEGIN PUBLIC KEY-----%'
FROM jwt_generate_keys('ES256');
SELECT length(jwt_generate_secret('HS256'));
SELECT * FROM jwt_generate_keys('HS256');
SELECT jwt_generate_secret('ES256');
SELECT jwt_generate_secret('none');
SELECT jwt_sign(NULL, NULL, NULL, NULL), jwt_verify(NULL, NULL);
-- every algorithm signs, and verifies, with keys in both forms
SELECT algo,
       jwt_verify(public_raw, jwt_sign(algo, private_raw, json_build_object('alg', algo), '{"a": 1}')) AS raw,
       jwt_verify(public_pem, jwt_sign(algo, private_pem, json_build_object('alg', algo), '{"a": 1}')) AS pem
FROM unnest('{RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA,Ed25519}'::text[]) algo,
     jwt_generate_keys(algo);
SELECT algo, jwt_verify(secret, jwt_sign(algo, secret, json_build_object('alg', algo), '{"a": 1}'))
FROM unnest('{HS256,HS384,HS512}'::text[]) algo, jwt_generate_secret(algo) secret;
-- published tokens: RFC 7515, A.1 and A.3
SELECT jwt_verify('AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow',
  'eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk');
SET jwt.keys = '{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}';
SELECT jwt_verify(NULL,
  'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q');
RESET jwt.keys;
-- texts for broken tokens
SELECT jwt_verify('x', 'blahblah');
SELECT jwt_verify('x', 'e30.e30');
SELECT jwt_verify('x', 'e30.e30.x.x');
SELECT jwt_verify('x', 'e30.e30.');
SELECT jwt_verify('x', 'e3=.e30.');
SELECT jwt_verify(NULL, 'eyJhbGciOiJFUzI1NiJ9.e30.');
SELECT jwt_verify('x', 'eyJhbGciOiJub25lIn0.e30.');
