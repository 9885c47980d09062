import java.net.URI;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/**
 * The official JDBC driver (clickhouse-jdbc) against a server: {@code Client URL}, where URL has the user and the password.
 * Learns what there is, inserts rows by prepared statements and compares every one, and sees proper errors. Ends with
 * status 0 only if all was right.
 */
public class Client {
    private static final int ROWS = 5_000;

    public static void main(String[] arguments) throws Exception {
        URI url = new URI(arguments[0]);
        // As rows in the text of the statement, and as binary ones, which a setting of the driver's asks for.
        roundTrip(url, false);
        roundTrip(url, true);
        try (Connection connection = connect(url, false)) {
            String version = connection.getMetaData().getDriverVersion();
            System.out.println("clickhouse-jdbc " + version + ": " + 2 * ROWS + " rows in and back");
        }
    }

    private static Connection connect(URI url, boolean binary) throws SQLException {
        String[] account = url.getUserInfo().split(":");
        Properties properties = new Properties();
        properties.setProperty("user", account[0]);
        properties.setProperty("password", account[1]);
        properties.setProperty("beta.row_binary_for_simple_insert", String.valueOf(binary));
        return DriverManager.getConnection(
            "jdbc:clickhouse://" + url.getHost() + ":" + url.getPort() + "/default", properties);
    }

    private static void roundTrip(URI url, boolean binary) throws SQLException {
        try (Connection connection = connect(url, binary)) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("DROP TABLE IF EXISTS java");
                statement.execute(
                    "CREATE TABLE java (id UInt64, note Nullable(String), at DateTime64(3, 'UTC'), amount Decimal(18, 4)) "
                        + "ENGINE = MergeTree ORDER BY id");
            }
            metadata(connection);
            String insert = "INSERT INTO java (id, note, at, amount) VALUES (?, ?, ?, ?)";
            try (PreparedStatement statement = connection.prepareStatement(insert)) {
                for (int id = 0; id < ROWS; id++) {
                    statement.setLong(1, id);
                    statement.setString(2, note(id));
                    // As a timestamp, the driver writes an expression into the text, which is not served.
                    if (binary) {
                        statement.setTimestamp(3, new Timestamp(id));
                    } else {
                        statement.setString(3, "1970-01-01 00:00:00." + String.format("%03d", id % 1000));
                    }
                    statement.setBigDecimal(4, java.math.BigDecimal.valueOf(id, 2));
                    statement.addBatch();
                }
                expect("inserted rows", statement.executeBatch().length, ROWS);
            }
            String select = "SELECT id, note, toUnixTimestamp64Milli(at) AS at, amount FROM java WHERE id >= ? ORDER BY id";
            try (PreparedStatement statement = connection.prepareStatement(select)) {
                statement.setLong(1, 10);
                try (ResultSet rows = statement.executeQuery()) {
                    int id = 10;
                    for (; rows.next(); id++) {
                        expect("id", rows.getLong("id"), (long) id);
                        expect("note", rows.getString("note"), note(id));
                        expect("at", rows.getLong("at"), binary ? (long) id : id % 1000);
                        expect("amount", rows.getBigDecimal("amount").movePointRight(2).longValueExact(), (long) id);
                    }
                    expect("rows", id, ROWS);
                }
            }
            fails(connection, "SELECT * FROM nowhere", 60);
            fails(connection, "SELECT nonsense FROM", 62);
        }
    }

    private static String note(int id) {
        return id % 3 == 0 ? null : "it's " + id + "\n\n\\ \t é";
    }

    private static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        expect("the table", column(metadata.getTables(null, "default", "java", null), "TABLE_NAME"), List.of("java"));
        expect("columns", column(metadata.getColumns(null, "default", "java", "%"), "COLUMN_NAME"),
            List.of("id", "note", "at", "amount"));
        expect("databases", column(metadata.getSchemas(), "TABLE_SCHEM").contains("default"), true);
        expect("the version", metadata.getDatabaseProductVersion().matches("\\d+\\..*"), true);
    }

    private static List<String> column(ResultSet rows, String name) throws SQLException {
        try (rows) {
            List<String> values = new ArrayList<>();
            while (rows.next()) {
                values.add(rows.getString(name));
            }
            return values;
        }
    }

    private static void fails(Connection connection, String sql, int code) {
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery(sql);
        } catch (SQLException error) {
            expect("the code of " + sql, error.getErrorCode(), code);
            return;
        }
        throw new AssertionError(sql + " did not fail");
    }

    private static void expect(String what, Object got, Object wanted) {
        if (!java.util.Objects.equals(got, wanted)) {
            throw new AssertionError(what + ": got " + got + ", wanted " + wanted);
        }
    }
}
