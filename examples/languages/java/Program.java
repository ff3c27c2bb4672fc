import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/**
 * Writes through one pgroute and reads through another, and counts the reads that did not see the
 * write before them.
 *
 * <p>usage: java Program token|none LEVEL ROUNDS TABLE WRITER-URL READER-URL
 */
public final class Program {
  private Program() {}

  /**
   * Reads until replicas serve the reads. Drivers greet the primary with settings of their own, and
   * pgroute has to learn of a new table before it takes a query of it for a read.
   */
  private static void settle(Statement statement, String table)
      throws SQLException, InterruptedException {
    statement.execute("SET pgroute.wait = '60s'");
    for (int inARow = 0; inARow < 2; ) {
      statement.executeQuery("SELECT count(*) FROM " + table).close();
      try (ResultSet route = statement.executeQuery("SHOW pgroute.last_route")) {
        route.next();
        if (route.getString("role").equals("replica")) {
          inARow++;
        } else {
          inARow = 0;
          Thread.sleep(20);
        }
      }
    }
    statement.execute("RESET pgroute.wait");
  }

  public static void main(String[] args)
      throws SQLException, IOException, InterruptedException {
    String table = args[3];
    try (Connection writer = DriverManager.getConnection(args[4]);
        Connection reader = DriverManager.getConnection(args[5])) {
      try (Statement statement = writer.createStatement()) {
        statement.execute("SET pgroute.report_token = on");
      }
      try (Statement statement = reader.createStatement()) {
        statement.execute("SET pgroute.consistency = " + args[1]);
        settle(statement, table);
      }
      writer.setAutoCommit(false);
      System.out.println("connected");
      System.in.read();

      int stale = 0;
      try (PreparedStatement insert = writer.prepareStatement("INSERT INTO " + table + " VALUES (?)");
          PreparedStatement count = reader.prepareStatement("SELECT count(*) FROM " + table + " WHERE n = ?")) {
        for (int n = 0; n < Integer.parseInt(args[2]); n++) {
          insert.setInt(1, n);
          insert.executeUpdate();
          writer.commit();
          if (args[0].equals("token")) {
            PgrouteToken.accept(reader, PgrouteToken.token(writer));
          }
          count.setInt(1, n);
          try (ResultSet result = count.executeQuery()) {
            result.next();
            if (result.getInt(1) == 0) {
              stale++;
            }
          }
        }
      }
      System.out.println("reported " + (PgrouteToken.reported(writer) != null));
      System.out.println("stale " + stale);
    }
  }
}
