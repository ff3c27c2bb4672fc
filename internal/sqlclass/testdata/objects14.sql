create function atomicread() returns bigint language sql stable begin atomic select count(*) from t; end;
create function atomiclock() returns void language sql stable begin atomic select pg_advisory_xact_lock(1); end;
create function atomictenant() returns int language sql stable begin atomic select tenant('x'); end;
create function atomicseq() returns bigint language sql stable begin atomic select last_value from s; end;
