DELETE FROM claimpool.version;
INSERT INTO claimpool.version (version, api) VALUES (:version, :'api');
