"""Runs the README's story with a Python client: Ada has 1000.00 USD, Bob 500.00, and 100.00 go from her to him.

Usage, with the SDK generated as in docs/sdks.md:
    PYTHONPATH=sdk/python python examples/python/story.py [host:port]
"""

import sys
import uuid

import grpc
from google.rpc import error_details_pb2, status_pb2
from grey.ledger.v1.integrity_pb2 import CheckIntegrityRequest
from grey.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from grey.transaction.v1.movement_pb2 import TransferRequest
from grey.transaction.v1.query_pb2 import ListTransactionsRequest
from grey.transaction.v1.transaction_service_pb2_grpc import TransactionServiceStub
from grey.type.v1.money_pb2 import Money
from grey.user.v1.user_service_pb2 import CreateUserRequest
from grey.user.v1.user_service_pb2_grpc import UserServiceStub
from grey.wallet.v1.wallet_pb2 import CreateWalletRequest, CreateWalletResponse
from grey.wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

TIMEOUT_S = 10


def usd(minor_units: int) -> Money:
    """Returns an amount in whole minor units: 10000 is 100.00 USD."""
    return Money(currency_code="USD", minor_units=minor_units)


def request_id() -> str:
    """Creates the id of a change. Keep it until the response: a retry with the same id is carried out once."""
    return str(uuid.uuid4())


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Returns the error details of a refused call: match on `reason`, never on the message."""
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    if not any(detail.Unpack(info) for detail in status.details):
        raise error
    return info


def open_wallet(channel: grpc.Channel, name: str, initial_minor: int) -> CreateWalletResponse:
    # A new email each time, so that the story can be run again.
    email = f"{name.lower()}-{uuid.uuid4()}@example.com"
    request = CreateUserRequest(request_id=request_id(), name=name, email=email)
    user = UserServiceStub(channel).CreateUser(request, timeout=TIMEOUT_S).user
    return WalletServiceStub(channel).CreateWallet(
        CreateWalletRequest(
            request_id=request_id(), user_id=user.id, currency_code="USD", initial_balance=usd(initial_minor)
        ),
        timeout=TIMEOUT_S,
    )


def tell(channel: grpc.Channel) -> None:
    ada = open_wallet(channel, "Ada", 1000_00)
    bob = open_wallet(channel, "Bob", 500_00)
    print(f"before: Ada {ada.balance.posted.minor_units}, Bob {bob.balance.posted.minor_units}")

    stub = TransactionServiceStub(channel)
    lunch = TransferRequest(
        request_id=request_id(),
        from_wallet_id=ada.wallet.id,
        to_wallet_id=bob.wallet.id,
        amount=usd(100_00),
        description="lunch",
    )
    first = stub.Transfer(lunch, timeout=TIMEOUT_S)
    after = {balance.wallet_id: balance.posted.minor_units for balance in first.balances}
    print(f"after: Ada {after[ada.wallet.id]}, Bob {after[bob.wallet.id]}, replayed {first.replayed}")

    again = stub.Transfer(lunch, timeout=TIMEOUT_S)
    same = again.transaction == first.transaction
    print(f"again: the same transaction {same}, replayed {again.replayed}")

    too_much = TransferRequest()
    too_much.CopyFrom(lunch)
    too_much.request_id = request_id()
    too_much.amount.minor_units = 1_000_000_00
    try:
        stub.Transfer(too_much, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        info = error_info(error)
        print(f"too much: {error.code().name} {info.reason}, available {info.metadata['available_minor_units']}")

    for name, user_id in (("Ada", ada.wallet.user_id), ("Bob", bob.wallet.user_id)):
        page = stub.ListTransactions(ListTransactionsRequest(user_id=user_id), timeout=TIMEOUT_S)
        shown = any(one.id == first.transaction.id for one in page.transactions)
        print(f"{name}'s list shows the lunch: {shown}")

    report = LedgerServiceStub(channel).CheckIntegrity(CheckIntegrityRequest(), timeout=TIMEOUT_S)
    print(f"the books add up: {report.ok}")


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051") as channel:
        tell(channel)
