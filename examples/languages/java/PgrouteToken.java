import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.regex.Pattern;
import org.postgresql.PGConnection;

/**
 * Hands the promise "whoever comes next sees at least what I wrote" from one connection to another,
 * through pgroute. For pgjdbc.
 *
 * <p>The writer connects with the property options=-c pgroute.report_token=on, or executes SET
 * pgroute.report_token = on. After each write, token(connection) is a short text to be handed on: in
 * a cookie, a header, a message. The reader calls accept(connection, text) before it reads.
 */
public final class PgrouteToken {
  private static final Pattern TOKEN = Pattern.compile("pgr1_[A-Za-z0-9_-]{48}");

  private PgrouteToken() {}

  /** Returns the token that came with the answer to the last write, or null. */
  public static String reported(Connection connection) throws SQLException {
    return connection.unwrap(PGConnection.class).getParameterStatus("pgroute.token");
  }

  /** Returns a token of everything that the connection has committed. */
  public static String token(Connection connection) throws SQLException {
    String value = reported(connection);
    if (value != null) {
      return value;
    }
    try (Statement statement = connection.createStatement();
        ResultSet result = statement.executeQuery("SHOW pgroute.token")) {
      result.next();
      return result.getString(1);
    }
  }

  /**
   * Lets the connection read nothing that is older than the token. A token that is foreign or forged
   * is an SQLException with SQLState 22023.
   */
  public static void accept(Connection connection, String value) throws SQLException {
    if (!TOKEN.matcher(value).matches()) {
      throw new SQLException("malformed pgroute token", "22023");
    }
    try (Statement statement = connection.createStatement()) {
      statement.execute("SET pgroute.token = '" + value + "'");
    }
  }
}
