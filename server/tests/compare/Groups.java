// The part of the session that deals with consumer groups of the classic protocol, offsets and coordinators.

import java.util.*;
import java.util.function.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

class Groups {
    final Compare compare;
    final Session session;

    Groups(Compare compare, Session session) {
        this.compare = compare;
        this.session = session;
    }

    void run() throws Exception {
        coordinators();
        unknownMembers();
        for (int version : new int[] {0, 3, 4, 5, 7, 9}) lifeOfGroup("group-v" + version, version);
        refusals();
        offsets();
        deleting();
    }

    void coordinators() throws Exception {
        compare.both("prepare the offsets topic", wire -> {
            for (int attempt = 0; attempt < 200; attempt++) {
                FindCoordinatorResponseData answer = (FindCoordinatorResponseData) wire.call(ApiKeys.FIND_COORDINATOR, (short) 2, new FindCoordinatorRequestData().setKey("any"));
                if (answer.errorCode() == 0) {
                    OffsetFetchResponseData fetched = (OffsetFetchResponseData) wire.call(ApiKeys.OFFSET_FETCH, (short) 5, new OffsetFetchRequestData().setGroupId("any").setTopics(null));
                    if (fetched.errorCode() == 0) return Normal.JSON.textNode("ready");
                }
                Thread.sleep(50);
            }
            return Normal.JSON.textNode("not ready");
        });
        Thread.sleep(1500); // all fifty partitions of it
        for (String key : List.of("some-group", "")) {
            session.each("group '" + key + "'", ApiKeys.FIND_COORDINATOR, (v, wire) -> v < 4 ? new FindCoordinatorRequestData().setKey(key) : new FindCoordinatorRequestData().setCoordinatorKeys(List.of(key, "another")));
        }
        compare.call("unknown key type", ApiKeys.FIND_COORDINATOR, 3, wire -> new FindCoordinatorRequestData().setKey("x").setKeyType((byte) 9));
    }

    static JoinGroupRequestData joining(int version, String group, String member, String... protocols) {
        JoinGroupRequestData request = new JoinGroupRequestData().setGroupId(group).setSessionTimeoutMs(10_000).setMemberId(member).setProtocolType("consumer");
        if (version >= 1) request.setRebalanceTimeoutMs(10_000);
        for (String protocol : protocols) request.protocols().add(new JoinGroupRequestData.JoinGroupRequestProtocol().setName(protocol).setMetadata(new byte[] {0, 1, 0, 0, 0, 0, -1, -1, -1, -1}));
        return request;
    }

    void unknownMembers() {
        session.each("unknown member", ApiKeys.HEARTBEAT, (v, wire) -> new HeartbeatRequestData().setGroupId("nobody").setGenerationId(1).setMemberId("m"));
        session.each("unknown member", ApiKeys.SYNC_GROUP, (v, wire) -> syncing(v, "nobody", 1, "m"));
        session.each("unknown member", ApiKeys.LEAVE_GROUP, (v, wire) -> leaving(v, "nobody", "m"));
        session.each("unknown member", ApiKeys.JOIN_GROUP, (v, wire) -> joining(v, "nobody", "m", "range"));
        session.each("unknown group", ApiKeys.DESCRIBE_GROUPS, (v, wire) -> new DescribeGroupsRequestData().setGroups(List.of("nobody")));
        session.each("no group id", ApiKeys.JOIN_GROUP, (v, wire) -> joining(v, "", "", "range"));
        session.each("no protocols", ApiKeys.JOIN_GROUP, (v, wire) -> joining(v, "nobody", ""));
        for (int v : new int[] {0, 5, 9}) {
            compare.call("session timeout too short", ApiKeys.JOIN_GROUP, v, wire -> joining(v, "nobody", "", "range").setSessionTimeoutMs(1));
            compare.call("session timeout too long", ApiKeys.JOIN_GROUP, v, wire -> joining(v, "nobody", "", "range").setSessionTimeoutMs(100_000_000));
        }
        session.each("no group id", ApiKeys.HEARTBEAT, (v, wire) -> new HeartbeatRequestData().setGroupId("").setGenerationId(1).setMemberId("m"));
    }

    static SyncGroupRequestData syncing(int version, String group, int generation, String member) {
        SyncGroupRequestData request = new SyncGroupRequestData().setGroupId(group).setGenerationId(generation).setMemberId(member);
        if (version >= 5) request.setProtocolType("consumer").setProtocolName("range");
        return request;
    }

    static LeaveGroupRequestData leaving(int version, String group, String member) {
        return version < 3 ? new LeaveGroupRequestData().setGroupId(group).setMemberId(member)
            : new LeaveGroupRequestData().setGroupId(group).setMembers(List.of(new LeaveGroupRequestData.MemberIdentity().setMemberId(member)));
    }

    /** One member joins, syncs, beats, commits, is described, and leaves; the versions of the other APIs go along. */
    void lifeOfGroup(String group, int version) {
        if (version >= 4) {
            compare.both("JoinGroup v" + version + " without a member id", wire -> {
                JoinGroupResponseData answer = (JoinGroupResponseData) wire.call(ApiKeys.JOIN_GROUP, (short) version, joining(version, group, "", "range", "roundrobin"));
                wire.text.put("member", answer.memberId());
                return Normal.of(wire, ApiKeys.JOIN_GROUP, (short) version, answer);
            });
        }
        compare.both("JoinGroup v" + version + " first member", wire -> {
            JoinGroupResponseData answer = (JoinGroupResponseData) wire.call(ApiKeys.JOIN_GROUP, (short) version, joining(version, group, version >= 4 ? wire.text.get("member") : "", "range", "roundrobin"));
            wire.text.put("member", answer.memberId());
            wire.number.put("generation", (long) answer.generationId());
            return Normal.of(wire, ApiKeys.JOIN_GROUP, (short) version, answer);
        });
        int sync = Math.min(version, 5), beat = Math.min(version, 4), leave = Math.min(version, 5), describe = Math.min(version, 6);
        compare.call(group + " while it waits for the assignment", ApiKeys.DESCRIBE_GROUPS, describe, wire -> new DescribeGroupsRequestData().setGroups(List.of(group)));
        compare.call(group + " wrong generation", ApiKeys.SYNC_GROUP, sync, wire -> syncing(sync, group, 77, wire.text.get("member")));
        if (sync >= 5) compare.call(group + " other protocol", ApiKeys.SYNC_GROUP, sync, wire -> syncing(sync, group, generation(wire), wire.text.get("member")).setProtocolName("sticky"));
        compare.call(group + " leader", ApiKeys.SYNC_GROUP, sync, wire -> syncing(sync, group, generation(wire), wire.text.get("member")).setAssignments(List.of(
            new SyncGroupRequestData.SyncGroupRequestAssignment().setMemberId(wire.text.get("member")).setAssignment("assigned".getBytes()))));
        compare.call(group + " member", ApiKeys.HEARTBEAT, beat, wire -> new HeartbeatRequestData().setGroupId(group).setGenerationId(generation(wire)).setMemberId(wire.text.get("member")));
        compare.call(group + " wrong generation", ApiKeys.HEARTBEAT, beat, wire -> new HeartbeatRequestData().setGroupId(group).setGenerationId(77).setMemberId(wire.text.get("member")));
        compare.call(group + " unknown member", ApiKeys.HEARTBEAT, beat, wire -> new HeartbeatRequestData().setGroupId(group).setGenerationId(generation(wire)).setMemberId("m"));
        for (int v = 2; v <= 9; v++) {
            int commit = v;
            compare.call(group + " member", ApiKeys.OFFSET_COMMIT, v, wire -> committing(commit, wire, group, "data", 0, 10 + commit, "note").setGenerationIdOrMemberEpoch(generation(wire)).setMemberId(wire.text.get("member")));
        }
        compare.call(group + " wrong generation", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, group, "data", 0, 1, "").setGenerationIdOrMemberEpoch(77).setMemberId(wire.text.get("member")));
        compare.call(group + " unknown member", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, group, "data", 0, 1, "").setGenerationIdOrMemberEpoch(generation(wire)).setMemberId("m"));
        compare.call(group + " from outside", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, group, "data", 0, 1, ""));
        session.each(group + " stable", ApiKeys.DESCRIBE_GROUPS, (v, wire) -> new DescribeGroupsRequestData().setGroups(List.of(group)));
        compare.call(group + " of another protocol type", ApiKeys.JOIN_GROUP, version, wire -> joining(version, group, "", "range").setProtocolType("other"));
        compare.call(group + " without a common protocol", ApiKeys.JOIN_GROUP, version, wire -> joining(version, group, "", "unheard"));
        compare.call(group + " not empty", ApiKeys.DELETE_GROUPS, 2, wire -> new DeleteGroupsRequestData().setGroupsNames(List.of(group)));
        compare.call(group + " member", ApiKeys.LEAVE_GROUP, leave, wire -> leaving(leave, group, wire.text.get("member")));
        compare.call(group + " member again", ApiKeys.LEAVE_GROUP, leave, wire -> leaving(leave, group, wire.text.get("member")));
        compare.call(group + " empty", ApiKeys.DESCRIBE_GROUPS, describe, wire -> new DescribeGroupsRequestData().setGroups(List.of(group)));
    }

    static int generation(Wire wire) { return wire.number.get("generation").intValue(); }

    static OffsetCommitRequestData committing(int version, Wire wire, String group, String topic, int partition, long offset, String metadata) {
        OffsetCommitRequestData.OffsetCommitRequestPartition one = new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(partition).setCommittedOffset(offset).setCommittedMetadata(metadata);
        OffsetCommitRequestData.OffsetCommitRequestTopic of = new OffsetCommitRequestData.OffsetCommitRequestTopic().setPartitions(List.of(one));
        if (version >= 10) of.setTopicId(topic.equals("nowhere") ? new Uuid(5, 7) : wire.topicId(topic)); else of.setName(topic);
        return new OffsetCommitRequestData().setGroupId(group).setTopics(List.of(of));
    }

    void refusals() {
        compare.call("unknown topic", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "outside", "nowhere", 0, 1, ""));
        compare.call("unknown topic id", ApiKeys.OFFSET_COMMIT, 10, wire -> committing(10, wire, "outside", "nowhere", 0, 1, ""));
        compare.call("unknown partition", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "outside", "data", 77, 1, ""));
        compare.call("metadata too large", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "outside", "data", 0, 1, "x".repeat(5000)));
        compare.call("null metadata", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "outside", "data", 1, 1, null));
        compare.call("negative offset", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "outside", "data", 2, -5, ""));
        compare.call("no group id", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "", "data", 0, 1, ""));
        compare.call("member id of a group without members", ApiKeys.OFFSET_COMMIT, 8, wire -> committing(8, wire, "outside", "data", 0, 1, "").setMemberId("m").setGenerationIdOrMemberEpoch(3));
    }

    static OffsetFetchRequestData fetching(int version, Wire wire, String group, List<String> topics) {
        if (version < 8) return new OffsetFetchRequestData().setGroupId(group).setTopics(topics == null ? null : topics.stream().map(topic -> new OffsetFetchRequestData.OffsetFetchRequestTopic().setName(topic).setPartitionIndexes(List.of(0, 1, 77))).toList());
        List<OffsetFetchRequestData.OffsetFetchRequestTopics> asked = topics == null ? null : topics.stream().map(topic -> {
            OffsetFetchRequestData.OffsetFetchRequestTopics one = new OffsetFetchRequestData.OffsetFetchRequestTopics().setPartitionIndexes(List.of(0, 1, 77));
            return version >= 10 ? one.setTopicId(topic.equals("nowhere") ? new Uuid(5, 7) : wire.topicId(topic)) : one.setName(topic);
        }).toList();
        return new OffsetFetchRequestData().setGroups(List.of(new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId(group).setTopics(asked)));
    }

    void offsets() {
        for (int v : Session.all(ApiKeys.OFFSET_COMMIT)) compare.call("from outside", ApiKeys.OFFSET_COMMIT, v, wire -> committing(v, wire, "outside", "data", 0, 100 + v, "n"));
        session.each("named", ApiKeys.OFFSET_FETCH, (v, wire) -> fetching(v, wire, "outside", List.of("data", "nowhere")));
        for (int v = 2; v <= 10; v++) {
            int version = v;
            compare.call("all of a group", ApiKeys.OFFSET_FETCH, v, wire -> fetching(version, wire, "outside", null));
            compare.call("all of an unknown group", ApiKeys.OFFSET_FETCH, v, wire -> fetching(version, wire, "nobody", null));
        }
        compare.call("of the group that left", ApiKeys.OFFSET_FETCH, 9, wire -> fetching(9, wire, "group-v5", null));
        session.each("all", ApiKeys.LIST_GROUPS, (v, wire) -> new ListGroupsRequestData());
        compare.call("by state", ApiKeys.LIST_GROUPS, 5, wire -> new ListGroupsRequestData().setStatesFilter(List.of("Empty")));
        compare.call("by type", ApiKeys.LIST_GROUPS, 5, wire -> new ListGroupsRequestData().setTypesFilter(List.of("classic")));
        compare.call("some", ApiKeys.OFFSET_DELETE, 0, wire -> deletingOffsets("outside", "data", 0, 77));
        compare.call("unknown topic", ApiKeys.OFFSET_DELETE, 0, wire -> deletingOffsets("outside", "nowhere", 0));
        compare.call("unknown group", ApiKeys.OFFSET_DELETE, 0, wire -> deletingOffsets("nobody", "data", 0));
        compare.call("after deletion", ApiKeys.OFFSET_FETCH, 9, wire -> fetching(9, wire, "outside", null));
    }

    static OffsetDeleteRequestData deletingOffsets(String group, String topic, int... partitions) {
        return new OffsetDeleteRequestData().setGroupId(group).setTopics(new OffsetDeleteRequestData.OffsetDeleteRequestTopicCollection(List.of(
            new OffsetDeleteRequestData.OffsetDeleteRequestTopic().setName(topic).setPartitions(Arrays.stream(partitions).mapToObj(at -> new OffsetDeleteRequestData.OffsetDeleteRequestPartition().setPartitionIndex(at)).toList())).iterator()));
    }

    void deleting() {
        session.each("one and an unknown one", ApiKeys.DELETE_GROUPS, (v, wire) -> new DeleteGroupsRequestData().setGroupsNames(List.of("group-v" + new int[] {0, 3, 4}[v], "nobody")));
        compare.call("no group id", ApiKeys.DELETE_GROUPS, 2, wire -> new DeleteGroupsRequestData().setGroupsNames(List.of("")));
        compare.call("after deletion", ApiKeys.LIST_GROUPS, 4, wire -> new ListGroupsRequestData());
    }
}
