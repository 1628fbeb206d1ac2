package io.flotilla.compat;

import java.lang.reflect.Method;
import java.util.Map;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** SubscriptionGroupConfig by reflection: its package differs between client 4 and client 5. */
final class GroupSettings {
    private GroupSettings() {}

    /** Creates or updates a group as mqadmin updateSubGroup does; settings by the names of the setters, e.g. ConsumeEnable. */
    static void put(DefaultMQAdminExt admin, String address, String group, Map<String, Object> settings) throws Exception {
        Method update = null;
        for (Method method : DefaultMQAdminExt.class.getMethods()) {
            if (method.getName().equals("createAndUpdateSubscriptionGroupConfig")) {
                update = method;
            }
        }
        if (update == null) {
            throw new AssertionError("no createAndUpdateSubscriptionGroupConfig in " + DefaultMQAdminExt.class);
        }
        Class<?> type = update.getParameterTypes()[1];
        Object config = type.getConstructor().newInstance();
        set(config, "GroupName", group);
        for (var setting : settings.entrySet()) {
            set(config, setting.getKey(), setting.getValue());
        }
        update.invoke(admin, address, config);
    }

    private static void set(Object config, String name, Object value) throws Exception {
        for (Method method : config.getClass().getMethods()) {
            if (method.getName().equals("set" + name)) {
                method.invoke(config, value);
                return;
            }
        }
        throw new AssertionError("no set" + name + " in " + config.getClass());
    }
}
