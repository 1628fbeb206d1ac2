//! Messages as a stream, each with a handle to acknowledge it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::listener::Verdict;
use super::settings::Settings;
use super::{Outcome, PushConsumer, listener};
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::limits;
use crate::received::ReceivedMessage;

/// Messages of a consumer as a stream; ends after [`MessageStream::shutdown`] or when the client is shut down.
#[derive(Debug)]
pub struct MessageStream {
    consumer: PushConsumer,
    deliveries: mpsc::Receiver<Delivery>,
    /// The consumer has stopped.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// A message to be acknowledged. Dropped without a word it is delivered again, as by [`Delivery::retry_later`].
#[derive(Debug)]
pub struct Delivery {
    message: ReceivedMessage,
    answer: Option<oneshot::Sender<Verdict>>,
    /// Whether it was taken from the stream.
    taken: bool,
}

impl MessageStream {
    pub(crate) async fn start(
        client: Client,
        mut settings: Settings,
        unacked_max: usize,
    ) -> Result<MessageStream> {
        if !(1..=limits::CONCURRENCY_MAX).contains(&unacked_max) {
            let max = limits::CONCURRENCY_MAX;
            return Err(ClientError::Invalid(format!(
                "unacked_max is {unacked_max}, allowed are 1 to {max}"
            )));
        }
        settings.concurrency = unacked_max;
        settings.consume_batch_size = 1;
        let (sender, deliveries) = mpsc::channel(unacked_max);
        let listener: std::sync::Arc<listener::Listener> = std::sync::Arc::new(move |messages| {
            let sender = sender.clone();
            Box::pin(async move {
                for message in messages {
                    let (answer, outcome) = oneshot::channel();
                    let delivery = Delivery { message, answer: Some(answer), taken: false };
                    if sender.send(delivery).await.is_err() {
                        // The stream has gone: nobody has seen the message.
                        return Verdict::Undecided;
                    }
                    match outcome.await {
                        Ok(Verdict::Decided(Outcome::Success)) => {}
                        Ok(other) => return other,
                        Err(_) => return Verdict::Undecided,
                    }
                }
                Verdict::Decided(Outcome::Success)
            })
        });
        let consumer = PushConsumer::start(client, settings, listener::Kind::Concurrent(listener)).await?;
        let ended = Box::pin(consumer.core.member.stopped.clone().cancelled_owned());
        Ok(MessageStream { consumer, deliveries, ended })
    }

    /// The consumer behind the stream: to pause, resume and ask for queues and offsets.
    pub fn consumer(&self) -> &PushConsumer {
        &self.consumer
    }

    /// Stops the consumer as [`PushConsumer::shutdown`]: waits for acknowledgements of what was handed out; messages that
    /// nobody took from the stream come again at the next member.
    ///
    /// # Cancellation
    /// As [`PushConsumer::shutdown`].
    pub async fn shutdown(self) {
        let MessageStream { consumer, deliveries, .. } = self;
        drop(deliveries);
        consumer.shutdown().await;
    }
}

impl Stream for MessageStream {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        match poll_next_wanted(&mut self.deliveries, context) {
            Poll::Ready(delivery) => Poll::Ready(delivery),
            Poll::Pending => self.ended.as_mut().poll(context).map(|()| None),
        }
    }
}

/// The next delivery that is still waited for. One whose time was up before anybody took it comes again by itself.
fn poll_next_wanted(
    deliveries: &mut mpsc::Receiver<Delivery>,
    context: &mut Context<'_>,
) -> Poll<Option<Delivery>> {
    loop {
        match deliveries.poll_recv(context) {
            Poll::Ready(Some(delivery))
                if delivery.answer.as_ref().is_some_and(oneshot::Sender::is_closed) => {}
            Poll::Ready(Some(mut delivery)) => {
                delivery.taken = true;
                return Poll::Ready(Some(delivery));
            }
            other => return other,
        }
    }
}

impl Delivery {
    /// The message.
    pub fn message(&self) -> &ReceivedMessage {
        &self.message
    }

    /// It is consumed: the offset moves on once everything before it is consumed too. The broker hears of it with the next
    /// offsets; after a crash before that the message comes again.
    pub fn ack(mut self) {
        self.answer(Outcome::Success);
    }

    /// It is to be delivered again: after the delay of a level (1 to 18), or of its number of attempts.
    pub fn retry_later(mut self, level: Option<u32>) {
        self.answer(level.map_or(Outcome::Retry, Outcome::RetryAtLevel));
    }

    /// It goes to the group's dead-letter topic.
    pub fn dead_letter(mut self) {
        self.answer(Outcome::DeadLetter);
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(answer) = self.answer.take() {
            // The consumer has gone: the message comes again elsewhere.
            let _ = answer.send(Verdict::Decided(outcome));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.taken {
            self.answer(Outcome::Retry);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::received::tests::message;

    #[tokio::test]
    async fn a_delivery_whose_time_was_up_is_not_given_any_more() {
        let (sender, mut deliveries) = mpsc::channel(4);
        let mut waiting = Vec::new();
        for offset in 0..3 {
            let (answer, outcome) = oneshot::channel();
            let delivery = Delivery { message: message(offset, 1), answer: Some(answer), taken: false };
            sender.send(delivery).await.unwrap();
            waiting.push(outcome);
        }
        // The listener calls of the first and the last one are given up.
        waiting.remove(2);
        waiting.remove(0);
        drop(sender);
        let mut next =
            async || std::future::poll_fn(|context| poll_next_wanted(&mut deliveries, context)).await;
        let delivery = next().await.unwrap();
        assert_eq!(delivery.message().queue_offset(), 1);
        delivery.ack();
        assert_eq!(waiting.remove(0).await, Ok(Verdict::Decided(Outcome::Success)));
        assert!(next().await.is_none());
    }
}
