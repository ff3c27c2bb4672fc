import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;

/** What a program does with PostgreSQL's JDBC driver, reported in TAP. The argument is the URL. */
public class Jdbc {
    interface Step { void run() throws Exception; }

    static String url;
    static final Map<String, Step> steps = new LinkedHashMap<>();

    static Connection connect(String... more) throws SQLException {
        Properties p = new Properties();
        p.put("user", System.getenv("PGUSER"));
        p.put("password", System.getenv("PGPASSWORD"));
        p.put("sslmode", "disable");
        for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
        return DriverManager.getConnection(url, p);
    }

    static void equal(Object want, Object got) {
        if (!Objects.equals(want, got)) throw new AssertionError("want " + want + ", got " + got);
    }

    static Object one(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getObject(1);
        }
    }

    static void state(String want, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException e) {
            equal(want, e.getSQLState());
            return;
        }
        throw new AssertionError("no error, want " + want);
    }

    static void define() {
        steps.put("a table is made and filled by a batch", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.execute("CREATE TABLE j (id int PRIMARY KEY, v text)");
                try (PreparedStatement p = c.prepareStatement("INSERT INTO j VALUES (?, ?)")) {
                    for (int i = 0; i < 1000; i++) {
                        p.setInt(1, i);
                        p.setString(2, "v" + i);
                        p.addBatch();
                    }
                    equal(1000, p.executeBatch().length);
                }
                equal(1000L, one(c, "SELECT count(*) FROM j"));
            }
        });
        steps.put("a statement becomes a prepared one after some runs", () -> {
            try (Connection c = connect("prepareThreshold", "3"); PreparedStatement p = c.prepareStatement("SELECT v FROM j WHERE id = ?")) {
                for (int i = 0; i < 20; i++) {
                    p.setInt(1, i);
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        equal("v" + i, r.getString(1));
                    }
                }
            }
        });
        steps.put("a prepared statement goes on after its table has changed", () -> {
            try (Connection c = connect("prepareThreshold", "1"); PreparedStatement p = c.prepareStatement("SELECT * FROM j WHERE id = 1"); Statement s = c.createStatement()) {
                for (int i = 0; i < 5; i++) p.executeQuery().close();
                s.execute("ALTER TABLE j ADD COLUMN extra int");
                try (ResultSet r = p.executeQuery()) {
                    equal(3, r.getMetaData().getColumnCount());
                }
            }
        });
        steps.put("rows are fetched in portions", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                try (Statement s = c.createStatement()) {
                    s.setFetchSize(7);
                    int n = 0;
                    try (ResultSet r = s.executeQuery("SELECT id FROM j ORDER BY id")) {
                        while (r.next()) equal(n++, r.getInt(1));
                    }
                    equal(1000, n);
                }
                c.commit();
            }
        });
        steps.put("savepoints", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                c.setAutoCommit(false);
                s.executeUpdate("UPDATE j SET v = 'kept' WHERE id = 1");
                Savepoint point = c.setSavepoint("here");
                state("23505", () -> s.executeUpdate("INSERT INTO j VALUES (1, 'twice')"));
                c.rollback(point);
                c.commit();
                equal("kept", one(c, "SELECT v FROM j WHERE id = 1"));
                c.commit();
            }
        });
        steps.put("read-only connections and isolation levels", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                c.setReadOnly(true);
                c.setAutoCommit(false);
                equal(1000L, one(c, "SELECT count(*) FROM j"));
                for (boolean again = true; again; ) { // a replica may fall behind: 40001, as between transactions anywhere
                    try {
                        s.executeUpdate("DELETE FROM j");
                        throw new AssertionError("a read-only transaction wrote");
                    } catch (SQLException e) {
                        again = e.getSQLState().equals("40001");
                        equal(again ? "40001" : "25006", e.getSQLState());
                    }
                    c.rollback();
                }
                c.setReadOnly(false);
                for (int level : new int[] {Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_READ_COMMITTED}) {
                    c.setTransactionIsolation(level);
                    equal(level, c.getTransactionIsolation());
                    equal(1000L, one(c, "SELECT count(*) FROM j"));
                    c.commit();
                }
            }
        });
        steps.put("types come back as they went", () -> {
            try (Connection c = connect(); PreparedStatement p = c.prepareStatement("SELECT ?::int, ?::bigint, ?::numeric, ?::bytea, ?::text[], ?::timestamptz, ?::text, ?::uuid")) {
                UUID id = UUID.randomUUID();
                Timestamp when = new Timestamp(1_000_000_000_123L);
                p.setInt(1, 7);
                p.setLong(2, Long.MAX_VALUE);
                p.setBigDecimal(3, new java.math.BigDecimal("12345678901234567890.123"));
                p.setBytes(4, new byte[] {0, 1, -1});
                p.setArray(5, c.createArrayOf("text", new String[] {"a", "b,c"}));
                p.setTimestamp(6, when);
                p.setNull(7, Types.VARCHAR);
                p.setObject(8, id);
                for (int i = 0; i < 8; i++) {
                    try (ResultSet r = p.executeQuery()) {
                        r.next();
                        equal(7, r.getInt(1));
                        equal(Long.MAX_VALUE, r.getLong(2));
                        equal("12345678901234567890.123", r.getBigDecimal(3).toPlainString());
                        equal("[0, 1, -1]", Arrays.toString(r.getBytes(4)));
                        equal("[a, b,c]", Arrays.toString((Object[]) r.getArray(5).getArray()));
                        equal(when, r.getTimestamp(6));
                        equal(null, r.getString(7));
                        equal(id, r.getObject(8));
                    }
                }
            }
        });
        steps.put("COPY in and out", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.execute("CREATE TABLE copied (a int, b text)");
                CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
                StringBuilder rows = new StringBuilder();
                for (int i = 0; i < 20000; i++) rows.append(i).append("\trow ").append(i).append('\n');
                equal(20000L, copy.copyIn("COPY copied FROM STDIN", new StringReader(rows.toString())));
                StringWriter out = new StringWriter();
                equal(20000L, copy.copyOut("COPY (SELECT * FROM copied ORDER BY a) TO STDOUT", out));
                equal(rows.toString(), out.toString());
                state("22P02", () -> copy.copyIn("COPY copied FROM STDIN", new StringReader("no number\tx\n")));
                equal(20000L, one(c, "SELECT count(*) FROM copied"));
            }
        });
        steps.put("large objects, by the protocol's function calls", () -> {
            try (Connection c = connect()) {
                c.setAutoCommit(false);
                var api = c.unwrap(PGConnection.class).getLargeObjectAPI();
                long id = api.createLO();
                byte[] data = new byte[300_000];
                new Random(1).nextBytes(data);
                var object = api.open(id);
                object.write(data);
                object.seek(0);
                equal(Arrays.hashCode(data), Arrays.hashCode(object.read(data.length)));
                object.close();
                api.delete(id);
                c.commit();
            }
        });
        steps.put("notifications arrive", () -> {
            try (Connection a = connect(); Connection b = connect()) {
                try (Statement s = a.createStatement()) { s.execute("LISTEN news"); }
                try (Statement s = b.createStatement()) { s.execute("NOTIFY news, 'hello'"); }
                PGNotification[] got = a.unwrap(PGConnection.class).getNotifications(60_000);
                equal(1, got.length);
                equal("hello", got[0].getParameter());
            }
        });
        steps.put("a query is cancelled, and the next one is not", () -> {
            try (Connection c = connect(); Connection watch = connect(); Statement s = c.createStatement()) {
                Object pid = one(c, "SELECT pg_backend_pid()");
                Thread canceller = new Thread(() -> {
                    try {
                        while (!Objects.equals(1L, one(watch, "SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid + " AND state = 'active' AND query LIKE '%pg_sleep%'"))) Thread.onSpinWait();
                        s.cancel();
                    } catch (SQLException e) {
                        throw new IllegalStateException(e);
                    }
                });
                canceller.start();
                state("57014", () -> s.execute("SELECT pg_sleep(60)"));
                canceller.join();
                equal(1, one(c, "SELECT 1"));
            }
        });
        steps.put("a query timeout", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.setQueryTimeout(1);
                state("57014", () -> s.execute("SELECT pg_sleep(60)"));
                s.setQueryTimeout(0);
                equal(1, one(c, "SELECT 1"));
            }
        });
        steps.put("two-phase commit", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.execute("BEGIN");
                s.execute("UPDATE j SET v = 'prepared' WHERE id = 2");
                s.execute("PREPARE TRANSACTION 'two'");
                equal("v2", one(c, "SELECT v FROM j WHERE id = 2"));
                s.execute("COMMIT PREPARED 'two'");
                equal("prepared", one(c, "SELECT v FROM j WHERE id = 2"));
            }
        });
        steps.put("settings follow their connection", () -> {
            List<Connection> all = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                all.add(connect("options", "-c search_path=public"));
                try (Statement s = all.get(i).createStatement()) { s.execute("SET app.tenant = 'tenant " + i + "'"); }
            }
            for (int round = 0; round < 5; round++) {
                for (int i = 0; i < 8; i++) {
                    equal("tenant " + i, one(all.get(i), "SELECT current_setting('app.tenant')"));
                }
            }
            for (Connection c : all) c.close();
        });
        steps.put("metadata", () -> {
            try (Connection c = connect()) {
                DatabaseMetaData m = c.getMetaData();
                equal(15, m.getDatabaseMajorVersion());
                try (ResultSet r = m.getColumns(null, "public", "j", null)) {
                    List<String> names = new ArrayList<>();
                    while (r.next()) names.add(r.getString("COLUMN_NAME"));
                    equal(List.of("id", "v", "extra"), names);
                }
                try (ResultSet r = m.getPrimaryKeys(null, "public", "j")) {
                    r.next();
                    equal("id", r.getString("COLUMN_NAME"));
                }
            }
        });
        steps.put("generated keys, and a function's result", () -> {
            try (Connection c = connect(); Statement s = c.createStatement()) {
                s.execute("CREATE TABLE keyed (id serial, v text)");
                s.executeUpdate("INSERT INTO keyed (v) VALUES ('a')", Statement.RETURN_GENERATED_KEYS);
                try (ResultSet r = s.getGeneratedKeys()) {
                    r.next();
                    equal(1, r.getInt("id"));
                }
                try (CallableStatement call = c.prepareCall("{? = call upper(?)}")) {
                    call.registerOutParameter(1, Types.VARCHAR);
                    call.setString(2, "a");
                    call.execute();
                    equal("A", call.getString(1));
                }
            }
        });
        steps.put("a primary is asked for, and is found", () -> {
            try (Connection c = connect("targetServerType", "primary")) {
                equal(1, one(c, "SELECT 1"));
            }
        });
    }

    public static void main(String[] args) throws Exception {
        url = args[0];
        define();
        System.out.println("1.." + steps.size());
        int n = 0;
        for (var step : steps.entrySet()) {
            n++;
            try {
                step.getValue().run();
                System.out.println("ok " + n + " - " + step.getKey());
            } catch (Throwable e) {
                System.out.println("not ok " + n + " - " + step.getKey());
                System.out.println("# " + String.valueOf(e).replace("\n", "\n# "));
            }
        }
        System.exit(0);
    }
}
