package pgtest

// ReadingClaims are the claims of Readings: types, names and numbers that a careless dialect loses.
const ReadingClaims = `{"sub":"alice","tenant_id":7,"big":123456789012345678901234567890,"price":1.10,"ok":true,"none":null,` +
	`"nested":{"a":[1,{"b":"c"}]},"list":["x","y"],"":"empty key","a.b":"dotted","Zoë":"naïve ☃ 𝄞","q":"\"\\\n\u0001","x{y}":"{"}`

// Reading is a query with one value as text: "NULL" for null, the SQLSTATE for an error.
type Reading struct{ SQL, Want string }

// WithoutContext is what jwt() answers before there are claims, in whatever dialect.
var WithoutContext = []Reading{
	{`select jwt()::text`, "NULL"},
	{`select jwt('sub')`, "NULL"},
	{`select jwt_required('sub')`, "28000"},
}

// Readings is what jwt() answers with ReadingClaims, in whatever dialect.
var Readings = []Reading{
	{`select jwt('sub')`, "alice"},
	{`select jwt('tenant_id')`, "7"},
	{`select jwt('big')`, "123456789012345678901234567890"},
	{`select jwt('price')`, "1.10"},
	{`select jwt('ok')`, "true"},
	{`select jwt('none')`, "NULL"},
	{`select jwt('absent')`, "NULL"},
	{`select jwt(null)`, "NULL"},
	{`select jwt('nested')`, `{"a": [1, {"b": "c"}]}`},
	{`select jwt()->'nested'->'a'->1->>'b'`, "c"},
	{`select (jwt()->'list' ? 'y')::text`, "true"},
	{`select jwt('')`, "empty key"},
	{`select jwt('a.b')`, "dotted"},
	{`select jwt('Zoë')`, "naïve ☃ 𝄞"},
	{`select jwt('q')`, "\"\\\n\x01"},
	{`select jwt('x{y}')`, "{"},
	{`select jsonb_typeof(jwt())`, "object"},
	{`select (jwt() = '` + ReadingClaims + `'::jsonb)::text`, "true"},
	{`select jwt_required('sub')`, "alice"},
	{`select jwt_required('none')`, "28000"},
	{`select jwt_required('absent')`, "28000"},
	{`select jwt_required(null)`, "28000"},
	{`select jwt_required(k) from (values ('sub')) v(k)`, "alice"},
	{`select jwt_required(k) from (values ('absent')) v(k)`, "28000"},
	{`select claimpool.jwt()->>'sub'`, "alice"},
}
