// Command story runs the README's story with a Go client: Ada has 1000.00 USD, Bob 500.00, and 100.00 go from her to him.
//
// Usage, in the SDK's module: go run ./story [host:port]
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	ledger "example.com/sdk/grey/ledger/v1"
	transaction "example.com/sdk/grey/transaction/v1"
	money "example.com/sdk/grey/type/v1"
	user "example.com/sdk/grey/user/v1"
	wallet "example.com/sdk/grey/wallet/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const timeout = 30 * time.Second

// usd returns an amount in whole minor units: 10000 is 100.00 USD.
func usd(minorUnits int64) *money.Money {
	return &money.Money{CurrencyCode: "USD", MinorUnits: minorUnits}
}

// requestID creates the id of a change. Keep it until the response: a retry with the same id is carried out once.
func requestID() string {
	var id [16]byte
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// errorInfo returns the error details of a refused call: match on the reason, never on the message.
func errorInfo(err error) (*errdetails.ErrorInfo, error) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info, nil
		}
	}
	return nil, err
}

func openWallet(ctx context.Context, conn *grpc.ClientConn, name string, initialMinor int64) (*wallet.CreateWalletResponse, error) {
	made, err := user.NewUserServiceClient(conn).CreateUser(ctx, &user.CreateUserRequest{
		RequestId: requestID(),
		Name:      name,
		// A new email each time, so that the story can be run again.
		Email: fmt.Sprintf("%s-%s@example.com", strings.ToLower(name), requestID()),
	})
	if err != nil {
		return nil, err
	}
	return wallet.NewWalletServiceClient(conn).CreateWallet(ctx, &wallet.CreateWalletRequest{
		RequestId:      requestID(),
		UserId:         made.User.Id,
		CurrencyCode:   "USD",
		InitialBalance: usd(initialMinor),
	})
}

func tell(ctx context.Context, conn *grpc.ClientConn) error {
	ada, err := openWallet(ctx, conn, "Ada", 1000_00)
	if err != nil {
		return err
	}
	bob, err := openWallet(ctx, conn, "Bob", 500_00)
	if err != nil {
		return err
	}
	fmt.Printf("before: Ada %d, Bob %d\n", ada.Balance.Posted.MinorUnits, bob.Balance.Posted.MinorUnits)

	transactions := transaction.NewTransactionServiceClient(conn)
	lunch := &transaction.TransferRequest{
		RequestId:    requestID(),
		FromWalletId: ada.Wallet.Id,
		ToWalletId:   bob.Wallet.Id,
		Amount:       usd(100_00),
		Description:  "lunch",
	}
	first, err := transactions.Transfer(ctx, lunch)
	if err != nil {
		return err
	}
	after := map[string]int64{}
	for _, balance := range first.Balances {
		after[balance.WalletId] = balance.Posted.MinorUnits
	}
	fmt.Printf("after: Ada %d, Bob %d, replayed %t\n", after[ada.Wallet.Id], after[bob.Wallet.Id], first.Replayed)

	again, err := transactions.Transfer(ctx, lunch)
	if err != nil {
		return err
	}
	fmt.Printf("again: the same transaction %t, replayed %t\n", proto.Equal(again.Transaction, first.Transaction), again.Replayed)

	tooMuch := proto.CloneOf(lunch)
	tooMuch.RequestId = requestID()
	tooMuch.Amount = usd(1_000_000_00)
	_, refusal := transactions.Transfer(ctx, tooMuch)
	info, err := errorInfo(refusal)
	if err != nil {
		return err
	}
	fmt.Printf("too much: %s %s, available %s\n", status.Code(refusal), info.Reason, info.Metadata["available_minor_units"])

	for _, one := range []struct{ name, userID string }{{"Ada", ada.Wallet.UserId}, {"Bob", bob.Wallet.UserId}} {
		page, err := transactions.ListTransactions(ctx, &transaction.ListTransactionsRequest{
			Of: &transaction.ListTransactionsRequest_UserId{UserId: one.userID},
		})
		if err != nil {
			return err
		}
		shown := false
		for _, listed := range page.Transactions {
			shown = shown || listed.Id == first.Transaction.Id
		}
		fmt.Printf("%s's list shows the lunch: %t\n", one.name, shown)
	}

	report, err := ledger.NewLedgerServiceClient(conn).CheckIntegrity(ctx, &ledger.CheckIntegrityRequest{})
	if err != nil {
		return err
	}
	fmt.Printf("the books add up: %t\n", report.Ok)
	return nil
}

func main() {
	address := "localhost:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := tell(ctx, conn); err != nil {
		log.Fatal(err)
	}
}
