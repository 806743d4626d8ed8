import java.math.BigDecimal;
import java.sql.*;
import java.util.*;

/** Pays small invoices and lists all of them, ten times, as whoever the token in PGPASSWORD says. */
public class Invoices {
    public static void main(String[] args) throws SQLException {
        Map<String, String> env = System.getenv();
        Properties p = new Properties();
        p.setProperty("user", env.get("PGUSER"));
        p.setProperty("password", env.get("PGPASSWORD"));
        p.setProperty("sslmode", env.getOrDefault("PGSSLMODE", "verify-full"));
        p.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
        p.setProperty("prepareThreshold", "1"); // prepare each statement at once, not when it is seen for the fifth time
        String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
        List<String> lines = List.of();
        try (Connection db = DriverManager.getConnection(url, p);
             PreparedStatement pay = db.prepareStatement("UPDATE invoice SET paid = true WHERE amount < ?");
             PreparedStatement list = db.prepareStatement("SELECT *, jwt('tenant_id') AS claim FROM invoice ORDER BY id")) {
            db.setAutoCommit(false);
            for (int i = 0; i < 10; i++) {
                pay.setBigDecimal(1, new BigDecimal(100));
                pay.executeUpdate();
                lines = new ArrayList<>();
                try (ResultSet r = list.executeQuery()) {
                    while (r.next()) {
                        if (lines.isEmpty()) lines.add("tenant " + r.getString("claim"));
                        lines.add(r.getInt("id") + " " + r.getString("customer") + " " + r.getString("amount") + " "
                            + (r.getBoolean("paid") ? "paid" : "open"));
                    }
                }
                db.commit();
            }
        }
        lines.forEach(System.out::println);
    }
}
