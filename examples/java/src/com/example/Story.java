package com.example;

import com.example.grey.ledger.v1.CheckIntegrityRequest;
import com.example.grey.ledger.v1.LedgerServiceGrpc;
import com.example.grey.transaction.v1.ListTransactionsRequest;
import com.example.grey.transaction.v1.TransactionServiceGrpc;
import com.example.grey.transaction.v1.TransferRequest;
import com.example.grey.type.v1.Money;
import com.example.grey.user.v1.CreateUserRequest;
import com.example.grey.user.v1.UserServiceGrpc;
import com.example.grey.wallet.v1.CreateWalletRequest;
import com.example.grey.wallet.v1.CreateWalletResponse;
import com.example.grey.wallet.v1.WalletServiceGrpc;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * Runs the README's story with a Java client: Ada has 1000.00 USD, Bob 500.00, and 100.00 go from her to him. Takes the
 * server's host:port.
 */
public final class Story {
  private static final long TIMEOUT_SECONDS = 30;

  private final Channel channel;

  private Story(Channel channel) {
    this.channel = channel;
  }

  public static void main(String[] args) throws Exception {
    var address = args.length > 0 ? args[0] : "localhost:50051";
    var channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    try {
      new Story(channel).tell();
    } finally {
      channel.shutdownNow().awaitTermination(TIMEOUT_SECONDS, TimeUnit.SECONDS);
    }
  }

  /** Returns an amount in whole minor units: 10000 is 100.00 USD. */
  private static Money usd(long minorUnits) {
    return Money.newBuilder().setCurrencyCode("USD").setMinorUnits(minorUnits).build();
  }

  /** Creates the id of a change. Keep it until the response: a retry with the same id is carried out once. */
  private static String requestId() {
    return UUID.randomUUID().toString();
  }

  /** Returns the error details of a refused call: match on the reason, never on the message. */
  private static ErrorInfo errorInfo(StatusRuntimeException error) throws InvalidProtocolBufferException {
    for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) return detail.unpack(ErrorInfo.class);
    }
    throw error;
  }

  private CreateWalletResponse openWallet(String name, long initialMinor) {
    var user =
        UserServiceGrpc.newBlockingStub(channel)
            .withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS)
            .createUser(
                CreateUserRequest.newBuilder()
                    .setRequestId(requestId())
                    .setName(name)
                    // A new email each time, so that the story can be run again.
                    .setEmail(name.toLowerCase(Locale.ROOT) + "-" + UUID.randomUUID() + "@example.com")
                    .build())
            .getUser();
    return WalletServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS)
        .createWallet(
            CreateWalletRequest.newBuilder()
                .setRequestId(requestId())
                .setUserId(user.getId())
                .setCurrencyCode("USD")
                .setInitialBalance(usd(initialMinor))
                .build());
  }

  private void tell() throws InvalidProtocolBufferException {
    var ada = openWallet("Ada", 1000_00);
    var bob = openWallet("Bob", 500_00);
    System.out.printf(
        "before: Ada %d, Bob %d%n",
        ada.getBalance().getPosted().getMinorUnits(), bob.getBalance().getPosted().getMinorUnits());

    var transactions =
        TransactionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS);
    var lunch =
        TransferRequest.newBuilder()
            .setRequestId(requestId())
            .setFromWalletId(ada.getWallet().getId())
            .setToWalletId(bob.getWallet().getId())
            .setAmount(usd(100_00))
            .setDescription("lunch")
            .build();
    var first = transactions.transfer(lunch);
    var after = new HashMap<String, Long>();
    first.getBalancesList().forEach(one -> after.put(one.getWalletId(), one.getPosted().getMinorUnits()));
    System.out.printf(
        "after: Ada %d, Bob %d, replayed %b%n",
        after.get(ada.getWallet().getId()), after.get(bob.getWallet().getId()), first.getReplayed());

    var again = transactions.transfer(lunch);
    System.out.printf(
        "again: the same transaction %b, replayed %b%n",
        again.getTransaction().equals(first.getTransaction()), again.getReplayed());

    try {
      transactions.transfer(lunch.toBuilder().setRequestId(requestId()).setAmount(usd(1_000_000_00)).build());
    } catch (StatusRuntimeException error) {
      var info = errorInfo(error);
      System.out.printf(
          "too much: %s %s, available %s%n",
          error.getStatus().getCode(), info.getReason(), info.getMetadataMap().get("available_minor_units"));
    }

    for (var one : Map.of("Ada", ada, "Bob", bob).entrySet().stream().sorted(Map.Entry.comparingByKey()).toList()) {
      var request = ListTransactionsRequest.newBuilder().setUserId(one.getValue().getWallet().getUserId()).build();
      var shown =
          transactions.listTransactions(request).getTransactionsList().stream()
              .anyMatch(listed -> listed.getId().equals(first.getTransaction().getId()));
      System.out.printf("%s's list shows the lunch: %b%n", one.getKey(), shown);
    }

    var report =
        LedgerServiceGrpc.newBlockingStub(channel)
            .withDeadlineAfter(TIMEOUT_SECONDS, TimeUnit.SECONDS)
            .checkIntegrity(CheckIntegrityRequest.getDefaultInstance());
    System.out.printf("the books add up: %b%n", report.getOk());
  }
}
