import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/** Makes topics and deletes them. */
final class Topics {
    private Topics() {}

    /** Records have the time at which the broker appended them: latency counts from there. */
    static void make(String brokers, String name, int partitions) throws Exception {
        NewTopic topic = new NewTopic(name, Optional.of(partitions), Optional.empty());
        topic.configs(Map.of("message.timestamp.type", "LogAppendTime"));
        try (Admin admin = admin(brokers)) {
            admin.createTopics(List.of(topic)).all().get();
        }
    }

    /** Deletes all that begin with the prefix: an engine has topics of its own for state and exchange. */
    static void delete(String brokers, String prefix) throws Exception {
        try (Admin admin = admin(brokers)) {
            Set<String> names = new TreeSet<>(admin.listTopics().names().get());
            names.removeIf(name -> !name.startsWith(prefix));
            admin.deleteTopics(names).all().get();
        }
    }

    private static Admin admin(String brokers) {
        return Admin.create(Map.of("bootstrap.servers", brokers));
    }
}
